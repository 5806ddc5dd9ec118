// SPDX-License-Identifier: MIT
import { WebSocketServer } from 'ws';

/** Each message goes to everyone. */
const server = new WebSocketServer({ port: 8080 }, () => console.log('listening'));

server.on('connection', (socket) => {
  socket.on('message', (data, binary) => {
    for (const client of server.clients) client.send(data, { binary });
  });
});
