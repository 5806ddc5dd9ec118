// SPDX-License-Identifier: MIT
import { createServer, type Server } from 'node:net';

/** A server on a Unix socket. Rejects with the system's error. */
export async function listen(path: string): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return server;
}
