// SPDX-License-Identifier: MIT
/** Directories for the time of one job, and marks that tell whose file a file is. */
import { existsSync, readlinkSync, statSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errnoOf, UklError } from './errors.js';
import { SOCKET_PATH_MAX } from './listen.js';

const PREFIX = 'ukl-';

/** What follows TMPDIR in the path of a socket: the directory's name, with the owner's mark and `mkdtemp`'s characters, and the socket's. */
const ROOM = 55;

/** This process's PID name space: a process number means nothing in another. */
const space = (): string => /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';

/** A part of a file name that names this process as the file's owner. */
export const ownerMark = (): string => `${space()}.${process.pid}`;

/** Whether the process lives that a file name's mark names; undefined without a mark, or with that of another PID name space. */
export function ownerLives(name: string): boolean | undefined {
  const mark = /-(\d+)\.(\d+)-/.exec(name);
  return mark === null || mark[1] !== space() ? undefined : existsSync(`/proc/${mark[2]}`);
}

/** Removes what processes that were killed have left. */
async function sweep(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.startsWith(PREFIX) || ownerLives(name) !== false) continue;
    const path = join(directory, name);
    // Another user's stays, whatever its name says.
    if (statSync(path, { throwIfNoEntry: false })?.uid !== process.getuid?.()) continue;
    await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}

const swept = new Set<string>();

/** A directory that is removed with its contents when it is disposed of. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
}

/**
 * Makes a directory for one job below TMPDIR, or in another one that is there.
 *
 * @throws UKL_HOST if it cannot be written, or if TMPDIR is too long for the sockets in it
 */
export async function makeScratch(purpose: string, root?: string): Promise<Scratch> {
  const place = root ?? tmpdir();
  if (root === undefined && Buffer.byteLength(place) + ROOM > SOCKET_PATH_MAX)
    throw new UklError('UKL_HOST', `the directory for temporary files is too long for a socket in it: ${place}`, { hint: 'TMPDIR=/tmp ukl ...' });
  let path: string;
  try {
    if (!swept.has(place)) await sweep(place);
    swept.add(place);
    path = await mkdtemp(join(place, `${PREFIX}${purpose}-${ownerMark()}-`));
  } catch (error) {
    throw new UklError('UKL_HOST', `cannot make a temporary directory in ${place} (${errnoOf(error) ?? 'unknown'})`, {
      hint: root === undefined ? 'set TMPDIR to a directory that can be written' : 'ukl clean, or set UKL_STORE to a directory that can be written',
      cause: error,
    });
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
