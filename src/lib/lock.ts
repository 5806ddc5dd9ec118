// SPDX-License-Identifier: MIT
import { connect, createServer } from 'node:net';
import { errnoOf } from './errors.js';
import { hashValue } from './hash.js';

/**
 * Runs `work` while no other process of this user does so for the same name.
 *
 * The lock is a listening socket in Linux' abstract name space: the kernel
 * takes it back whatever ends the holder, and who waits is told by the end of
 * a connection, without polling. Processes in other network name spaces do not
 * see each other's locks.
 *
 * @param onWait called once if somebody else holds the lock
 */
export async function withLock<T>(name: string, work: () => Promise<T>, onWait: () => void = () => {}): Promise<T> {
  const address = `\0ukl-lock-${hashValue([process.getuid?.(), name]).slice(0, 32)}`;
  let waited = false;
  for (;;) {
    const server = createServer();
    const free = await new Promise<boolean>((resolve, reject) => {
      server.once('error', (error) => (errnoOf(error) === 'EADDRINUSE' ? resolve(false) : reject(error)));
      server.listen(address, () => resolve(true));
    });
    if (free) {
      const waiting = new Set<{ destroy(): void }>();
      server.on('connection', (socket) => {
        waiting.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => waiting.delete(socket));
      });
      server.unref();
      try {
        return await work();
      } finally {
        server.close();
        for (const socket of waiting) socket.destroy();
      }
    }
    if (!waited) onWait();
    waited = true;
    await new Promise<void>((resolve) => {
      const socket = connect(address);
      socket.on('error', () => {});
      socket.on('close', () => resolve());
      socket.resume();
    });
  }
}
