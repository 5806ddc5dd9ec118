// SPDX-License-Identifier: MIT
/** A process that the runtime leaves behind: it is the engine's to wait for, and who starts it is told whether it began. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { getEnter } from '../guest/programs.js';
import { type ErrorCode, UklError } from '../lib/errors.js';
import { LineSplitter } from '../lib/lines.js';
import type { Log } from '../lib/log.js';
import { projectRoot } from '../lib/paths.js';
import type { NetworkPlace } from './plan.js';

const PROGRAM = join(projectRoot, 'dist/container.js');

/** The file in the child that leads to its parent. */
const PARENT = 3;

export interface ChildOptions {
  readonly words: readonly string[];
  readonly network: NetworkPlace;
  /** Where the other end of its terminal goes, if it has one. */
  readonly consoleSocket: string | undefined;
  /** What it is told, besides its words. */
  readonly request?: object;
  readonly log: Log;
}

/** A process that waits for its parent's leave: without it, it ends with the parent. */
export interface Child {
  readonly pid: number;
  /** Lets it go on alone. */
  keep(): Promise<void>;
  kill(): void;
}

/** Settles with the first line of the child's. */
function firstLine(child: ChildProcess, pipe: Duplex): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines = new LineSplitter();
    child.once('error', reject);
    child.once('exit', (code) =>
      reject(
        new UklError('UKL_VMM', `the container's process ended with ${code ?? 'a signal'} before it began`, { hint: 'it has said why on standard error' }),
      ),
    );
    pipe.on('data', (chunk: Buffer) => {
      for (const line of lines.push(chunk)) resolve(line);
    });
    pipe.on('error', () => {});
  });
}

/** Starts a process with this one's streams, or a terminal. Throws what it says when it could not begin. */
export async function startChild({ words, network, consoleSocket, request = {}, log }: ChildOptions): Promise<Child> {
  if (!existsSync(PROGRAM)) throw new UklError('UKL_HOST', 'this copy of ukl is not compiled', { hint: 'npm run build' });
  const place = network.kind === 'path' ? ['-n', network.path] : network.kind === 'new' ? ['-N'] : [];
  const terminal = consoleSocket === undefined ? [] : ['-t', consoleSocket];
  const child = spawn(await getEnter({ log }), [...place, ...terminal, process.execPath, PROGRAM, ...words], {
    detached: true,
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    cwd: '/',
  });
  const kill = (): void => void child.kill('SIGKILL');
  const pipe = child.stdio[PARENT] as Duplex;
  try {
    pipe.write(`${JSON.stringify(request)}\n`);
    const { error } = JSON.parse(await firstLine(child, pipe)) as { error?: { code: ErrorCode; message: string; hint?: string; details?: string } };
    if (error !== undefined) throw new UklError(error.code, error.message, error);
    if (child.pid === undefined) throw new UklError('UKL_VMM', "the container's process has no number");
    return {
      pid: child.pid,
      keep: async () => {
        await new Promise<void>((done) => pipe.end('keep\n', done));
        child.removeAllListeners();
        pipe.destroy();
        child.unref();
      },
      kill,
    };
  } catch (error) {
    kill();
    throw error;
  }
}

/** The child's end. */
export class Parent {
  readonly #socket = new Socket({ fd: PARENT });
  readonly #lines = new LineSplitter();
  readonly #said: string[] = [];
  #heard: (() => void) | undefined;
  #gone = false;

  constructor() {
    this.#socket.on('data', (chunk: Buffer) => {
      this.#said.push(...this.#lines.push(chunk));
      this.#heard?.();
    });
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      this.#gone = true;
      this.#heard?.();
    });
  }

  async #line(): Promise<string | undefined> {
    while (this.#said.length === 0 && !this.#gone)
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    return this.#said.shift();
  }

  /** What it asks for. */
  async request(): Promise<unknown> {
    return JSON.parse((await this.#line()) ?? '{}') as unknown;
  }

  tell(message: object): void {
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** Whether this process may go on alone; false if the parent ended without a word. */
  async kept(): Promise<boolean> {
    const kept = (await this.#line()) === 'keep';
    this.#socket.destroy();
    return kept;
  }
}
