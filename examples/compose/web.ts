// SPDX-License-Identifier: MIT
import { createServer } from 'node:http';
import { connect } from 'node:net';

/** redis' protocol for one question: a number behind a colon is the answer. */
function visits(): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(6379, 'counter', () => socket.write('INCR visits\r\n'));
    socket.once('data', (answer) => {
      socket.end();
      resolve(answer.toString().slice(1).trim());
    });
    socket.once('error', reject);
  });
}

createServer((_request, response) => {
  visits().then(
    (count) => response.end(`visit ${count}\n`),
    (error: Error) => response.writeHead(503).end(`${error.message}\n`),
  );
}).listen(8080, () => console.log('listening'));

process.once('SIGTERM', () => process.exit(0));
