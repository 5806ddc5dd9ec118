// SPDX-License-Identifier: MIT
import { createServer } from 'node:http';

const server = createServer((request, response) => {
  response.setHeader('content-type', 'text/plain');
  response.end(`Hello from ${request.url ?? '/'}\n`);
});

server.listen(8080, () => console.log('listening'));

// What a request in flight needs is awaited; connections that are only kept alive are not.
process.once('SIGTERM', () => {
  server.close(() => console.log('closed'));
  server.closeIdleConnections();
});
