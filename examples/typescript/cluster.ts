// SPDX-License-Identifier: MIT
/** Processes that share a port; one that dies is replaced. */
import cluster from 'node:cluster';
import { createServer } from 'node:http';

const WORKERS = 2;

if (cluster.isPrimary) {
  let listening = 0;
  for (let i = 0; i < WORKERS; i++) cluster.fork();
  cluster.on('listening', () => {
    listening++;
    if (listening === WORKERS) console.log('listening');
    if (listening > WORKERS) console.log('replaced');
  });
  cluster.on('exit', () => cluster.fork());
} else {
  createServer((request, response) => {
    response.setHeader('connection', 'close');
    response.end(`${process.pid}\n`, () => {
      if (request.url === '/die') process.exit(1);
    });
  }).listen(8080);
}
