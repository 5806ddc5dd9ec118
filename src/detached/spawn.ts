// SPDX-License-Identifier: MIT
/** Processes of ours that go on without the tool. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { type ErrorCode, UklError } from '../lib/errors.js';
import { LineSplitter } from '../lib/lines.js';

export interface DetachedProgram {
  /** A file of dist. */
  readonly program: string;
  readonly args: readonly string[];
  /** For messages: "the supervisor of 'web'". */
  readonly what: string;
  readonly cwd?: string | undefined;
  /** Where its complaints go. */
  readonly log?: string | undefined;
  /** Ends it while it starts. */
  readonly signal?: AbortSignal | undefined;
}

/** A pipe to whoever started it, who waits for one line. */
const PARENT = 3;

/** Starts a program in a session of its own; settles when it says that it has started. Throws what it says instead. */
export async function spawnDetached({ program, args, what, cwd, log, signal }: DetachedProgram): Promise<void> {
  if (!existsSync(program)) throw new UklError('UKL_HOST', 'this copy of ukl is not compiled', { hint: 'npm run build' });
  if (cwd !== undefined && !existsSync(cwd)) throw new UklError('UKL_HOST', `${cwd} is not there any more, and ${what} needs it`, { hint: `mkdir -p ${cwd}` });
  const errors = log === undefined ? undefined : openSync(log, 'a', 0o600);
  const child = spawn(process.execPath, [program, ...args], {
    detached: true,
    stdio: ['ignore', errors ?? 'ignore', errors ?? 'ignore', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (errors !== undefined) closeSync(errors);
  const abort = (): void => void child.kill('SIGTERM');
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await new Promise<void>((done, reject) => {
      const lines = new LineSplitter();
      child.once('error', reject);
      child.once('exit', () => reject(new UklError('UKL_VMM', `${what} ended as it started`, log === undefined ? {} : { log })));
      (child.stdio[PARENT] as Readable).on('data', (chunk: Buffer) => {
        for (const line of lines.push(chunk)) {
          const { error } = JSON.parse(line) as { error?: { code: ErrorCode; message: string; hint?: string; details?: string; log?: string } };
          if (error === undefined) done();
          else reject(new UklError(error.code, error.message, error));
        }
      });
    });
  } finally {
    signal?.removeEventListener('abort', abort);
    child.removeAllListeners();
    for (const stream of child.stdio) stream?.destroy();
    child.unref();
  }
  signal?.throwIfAborted();
}

let told = false;

/** In such a program: says once that it has started, or why it has not. */
export function tellParent(message: object): void {
  if (told) return;
  told = true;
  try {
    writeSync(PARENT, `${JSON.stringify(message)}\n`);
    closeSync(PARENT);
  } catch {
    // It did not wait.
  }
}
