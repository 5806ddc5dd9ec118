// SPDX-License-Identifier: MIT
/** The network of a project's guests: its switch is there as long as one of them is. */
import { mkdir, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { UklError } from '../lib/errors.js';
import { dial } from '../lib/listen.js';
import { withLock } from '../lib/lock.js';
import { projectRoot } from '../lib/paths.js';
import { makeScratch } from '../lib/scratch.js';
import { stateRoot } from './record.js';
import { spawnDetached } from './spawn.js';

/** Where a project's switch listens. Only this user may enter the directory. */
export const networkSocket = (project: string): string => join(stateRoot(), 'networks', `${project}.socket`);

/** A connection to a project's switch, which is started if there is none. */
async function connectSwitch(project: string): Promise<Socket> {
  const path = networkSocket(project);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  return withLock(`${path}.lock`, async () => {
    const there = await dial(path);
    if (there !== undefined) return there;
    await rm(path, { force: true });
    const what = `the network of ${project}`;
    await spawnDetached({ program: join(projectRoot, 'dist/switch.js'), args: [path], what });
    const started = await dial(path);
    if (started === undefined) throw new UklError('UKL_VMM', `${what} ended as soon as it had started`);
    return started;
  });
}

/** A guest's place on its project's network. Disposing of it leaves the network. */
export interface Port extends AsyncDisposable {
  /** The word of `net` by which the guest's VMM has it. */
  readonly net: string;
}

/**
 * Has a project's switch connect to a VMM that is about to listen, and another switch when that one is killed.
 *
 * @param lost is told what keeps another one from being started: the guest is by itself then
 * @throws what keeps the first one from being started
 */
export async function openPort(project: string, lost: (error: unknown) => void): Promise<Port> {
  const scratch = await makeScratch('net');
  const path = join(scratch.path, 'port');
  let left = false;
  let socket: Socket | undefined;
  const plugIn = async (): Promise<void> => {
    socket = await connectSwitch(project);
    socket.resume();
    socket.once('close', () => {
      if (!left) plugIn().catch(lost);
    });
    if (left) socket.destroy();
    else socket.write(`${path}\n`);
  };
  const leave = async (): Promise<void> => {
    left = true;
    socket?.destroy();
    await scratch[Symbol.asyncDispose]();
  };
  try {
    await plugIn();
  } catch (error) {
    await leave();
    throw error;
  }
  return { net: `listen:${path}`, [Symbol.asyncDispose]: leave };
}
