// SPDX-License-Identifier: MIT
/** The network of a project's guests: its switch is there as long as one of them is. */
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { withLock } from '../lib/lock.js';
import { projectRoot } from '../lib/paths.js';
import { socketOf } from './record.js';
import { spawnDetached } from './spawn.js';

/** No guest has this name: the socket's is of the project's. */
export const networkSocket = (project: string): Promise<string> => socketOf(`network of ${project}`);

const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });

/** Starts a project's switch, if there is none. Returns the socket that guests connect to. */
export async function ensureNetwork(project: string, signal?: AbortSignal): Promise<string> {
  const path = await networkSocket(project);
  await withLock(path, async () => {
    if (await answers(path)) return;
    await rm(path, { force: true });
    await spawnDetached({ program: join(projectRoot, 'dist/switch.js'), args: [path], what: `the network of ${project}`, signal });
  });
  return path;
}
