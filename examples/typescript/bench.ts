// SPDX-License-Identifier: MIT
/** A server and its load in one guest, for ukl bench: wrk runs in ring 3 beside it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import fastify from 'fastify';

const [what = 'http', seconds = '2', warmUp = '1'] = process.argv.slice(2);

async function listen(): Promise<void> {
  if (what === 'fastify') {
    const app = fastify();
    const schema = { response: { 200: { type: 'object', properties: { hello: { type: 'string' }, numbers: { type: 'array', items: { type: 'number' } } } } } };
    app.get('/', { schema }, async () => ({ hello: 'world', numbers: [1, 2, 3] }));
    await app.listen({ port: 8080, host: '127.0.0.1' });
  } else {
    const server = createServer((_request, response) => response.end('Hello'));
    server.listen(8080, '127.0.0.1');
    await once(server, 'listening');
  }
}

async function load(duration: string): Promise<string> {
  const wrk = spawn('/usr/bin/wrk', ['-t1', '-c8', `-d${duration}s`, '--latency', 'http://127.0.0.1:8080/'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  wrk.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const [code] = (await once(wrk, 'close')) as [number];
  if (code !== 0) process.exit(1);
  return text;
}

await listen();
// For V8's compilers, and the emulator's.
await load(warmUp);
process.stdout.write(await load(seconds));
process.exit(0);
