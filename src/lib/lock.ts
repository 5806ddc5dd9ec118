// SPDX-License-Identifier: MIT
import { spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, rmSync, statSync } from 'node:fs';
import { errnoOf, UklError } from './errors.js';
import { LEASH } from './leash.js';

export interface LockOptions {
  /** Called once if somebody else holds the lock. */
  readonly onWait?: () => void;
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Locks an open file; false if another has it and we are not to wait. flock(2)
 * locks what is opened, not who has opened it: util-linux' flock does so with the
 * file that it inherits, and the lock stays ours when it has ended.
 */
async function take(file: number, wait: boolean, signal: AbortSignal | undefined): Promise<boolean> {
  signal?.throwIfAborted();
  const [leash, ...words] = LEASH;
  const child = spawn(leash, [...words, 'flock', ...(wait ? [] : ['--nonblock']), '3'], { stdio: ['ignore', 'ignore', 'ignore', file] });
  const abort = (): void => void child.kill();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', (error) => reject(new UklError('UKL_HOST', `flock cannot be run: ${errnoOf(error) ?? error.message}`, { cause: error })));
      child.once('close', resolve);
    });
    signal?.throwIfAborted();
    if (status === 0 || (status === 1 && !wait)) return status === 0;
    throw new UklError('UKL_HOST', `a file could not be locked: flock ended with ${status ?? 'a signal'}`, { hint: 'is util-linux installed?' });
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/** Whether a path still leads to an open file. */
function isAt(path: string, file: number): boolean {
  const [there, ours] = [statSync(path, { throwIfNoEntry: false }), fstatSync(file)];
  return there?.ino === ours.ino && there.dev === ours.dev;
}

/**
 * Runs `work` while nobody else does so for the same file, which is made for it
 * and removed behind it. The kernel takes the lock back whatever ends its holder.
 * Only its user can open the file, so nobody else can hold the lock.
 *
 * @param path in a directory that is there
 * @throws UKL_HOST where files cannot be locked
 */
export async function withLock<T>(path: string, work: () => Promise<T>, { onWait = () => {}, signal }: LockOptions = {}): Promise<T> {
  for (let waited = false; ; waited = true) {
    // By its number: a FileHandle that nobody can reach is closed, and the lock would be with it.
    const file = openSync(path, 'a', 0o600);
    try {
      if (!(await take(file, false, signal))) {
        if (!waited) onWait();
        await take(file, true, signal);
      }
      // Whoever had it has removed the file: the next one may be locked already.
      if (!isAt(path, file)) continue;
      try {
        return await work();
      } finally {
        rmSync(path, { force: true });
      }
    } finally {
      closeSync(file);
    }
  }
}
