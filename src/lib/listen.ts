// SPDX-License-Identifier: MIT
/** Unix sockets, by paths of any length. */
import { type FileHandle, open } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';

/** The path of a Unix socket, with its final zero: sockaddr_un in unix(7). */
export const SOCKET_PATH_MAX = 107;

/** A name by which the kernel takes a socket's path, as long as the directory is open that comes with it. */
async function nameOf(path: string): Promise<{ readonly name: string; readonly directory: FileHandle | undefined }> {
  if (Buffer.byteLength(path) <= SOCKET_PATH_MAX) return { name: path, directory: undefined };
  const directory = await open(dirname(path));
  return { name: join('/proc/self/fd', String(directory.fd), basename(path)), directory };
}

/** Hands over the name of a socket that is to be connected to, which is good until the work has settled. */
export async function reach<T>(path: string, work: (name: string) => Promise<T>): Promise<T> {
  const { name, directory } = await nameOf(path);
  try {
    return await work(name);
  } finally {
    await directory?.close();
  }
}

/** A connection to who listens on a Unix socket; undefined if nobody does. */
export async function dial(path: string): Promise<Socket | undefined> {
  const dialling = (name: string): Promise<Socket | undefined> =>
    new Promise((resolve) => {
      const socket = connect(name);
      socket.on('error', () => resolve(undefined));
      socket.once('connect', () => resolve(socket));
    });
  // Where there is no directory, nobody listens.
  return reach(path, dialling).catch(() => undefined);
}

/** Has a server listen on a Unix socket. Rejects with the system's error. */
export async function listen<S extends Server = Server>(path: string, server: S = createServer() as S): Promise<S> {
  const { name, directory } = await nameOf(path);
  // Its end removes the socket, by the same name.
  server.once('close', () => void directory?.close());
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(name, resolve);
    });
  } catch (error) {
    await directory?.close();
    throw error;
  }
  return server;
}
