// SPDX-License-Identifier: MIT
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execa } from 'execa';
import { DISK_FULL_HINT, type ErrorCode, errnoOf, UklError } from './errors.js';
import { LineSplitter } from './lines.js';

export interface ExecOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Everything the command prints goes here as well. */
  readonly log?: string;
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** The code of the error that a failure throws; UKL_COMMAND by default. */
  readonly errorCode?: ErrorCode;
  readonly hint?: string;
}

/** How many lines of a failed command's output are shown. */
const SHOWN_LINES = 20;

/** As the C library says it, xorriso, and tar. */
const DISK_FULL = /No space left on device|exceeds free space on media|: Wrote only \d+ of \d+ bytes/;

/** The last lines of a text, without trailing blank ones. */
export function lastLines(text: string, count = SHOWN_LINES): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

/**
 * Runs a program to its end and returns its standard output.
 *
 * The program leads a process group of its own, which is ended as a whole when
 * the signal aborts (Ctrl-C): make must not leave compilers behind.
 *
 * @throws UklError with the command, its status and the end of its output
 */
export async function exec(file: string, args: readonly string[], options: ExecOptions = {}): Promise<string> {
  options.signal?.throwIfAborted();
  const child = execa(file, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    env: { LC_ALL: 'C', ...options.env },
    all: true,
    detached: true,
    reject: false,
    maxBuffer: 64 * 1024 * 1024,
  });
  const abort = (): void => {
    if (child.pid !== undefined) {
      try {
        process.kill(-child.pid, 'SIGTERM');
      } catch {
        // Already gone.
      }
    }
  };
  options.signal?.addEventListener('abort', abort, { once: true });
  if (options.log !== undefined) {
    await mkdir(dirname(options.log), { recursive: true });
    child.all.pipe(createWriteStream(options.log, { flags: 'a' }));
  }
  if (options.onLine) {
    const onLine = options.onLine;
    const splitter = new LineSplitter();
    child.all.on('data', (chunk: Buffer) => {
      for (const line of splitter.push(chunk)) onLine(line);
    });
  }
  const result = await child;
  options.signal?.removeEventListener('abort', abort);
  options.signal?.throwIfAborted();
  if (result.failed) {
    const why =
      errnoOf(result.cause) === 'ENOENT' || errnoOf(result) === 'ENOENT'
        ? 'not found'
        : result.signal
          ? `killed by ${result.signal}`
          : `exit status ${result.exitCode}`;
    const output = String(result.all ?? '');
    const full = DISK_FULL.test(output);
    throw new UklError(
      full ? 'UKL_DISK_FULL' : (options.errorCode ?? 'UKL_COMMAND'),
      `${full ? 'no space left on the device' : 'could not run'}: ${file} ${args.slice(0, 4).join(' ')}${args.length > 4 ? ' ...' : ''}: ${why}`,
      {
        details: lastLines(output),
        ...(full ? { hint: DISK_FULL_HINT } : options.hint === undefined ? {} : { hint: options.hint }),
        ...(options.log === undefined ? {} : { log: options.log }),
        cause: result.cause,
      },
    );
  }
  return result.stdout;
}
