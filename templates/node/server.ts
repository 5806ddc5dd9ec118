import { createServer } from 'node:http';

const port = Number(process.env.PORT ?? 8080);

const server = createServer((request, response) => {
  response.setHeader('content-type', 'text/plain');
  response.end(`Hello from ${request.url ?? '/'}\n`);
});

server.listen(port, () => console.log(`listening on port ${port}`));

// Ctrl-C in ukl, and whoever else ends the machine in good order.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => server.close(() => console.log('closed')));
}
