// SPDX-License-Identifier: MIT
import { spawn } from 'node:child_process';
import { copyFile, mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { projectRoot } from '../../src/lib/paths.js';
import type { RunResult } from '../../src/model/index.js';
import { type BuildOptions, type RunningVm, type RunOptions, run } from '../../src/sdk/index.js';
import { QEMU } from '../../src/vmms/qemu/args.js';

/** Serial logs of runs that went wrong are kept here. */
const evidence = join(projectRoot, '.ukl/test-logs');

/** Long enough for a guest on a busy two-core host, short enough to notice a hang. */
const GUEST_SECONDS = 120;

export class Sink extends Writable {
  #chunks: Buffer[] = [];
  #waiting: { pattern: RegExp; resolve: () => void; reject: (error: Error) => void }[] = [];
  #over: string | undefined;

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#chunks.push(chunk);
    const text = this.text();
    this.#waiting = this.#waiting.filter(({ pattern, resolve }) => {
      if (!pattern.test(text)) return true;
      resolve();
      return false;
    });
    done();
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString();
  }

  /** No more will come: whoever waits is told why. */
  over(why: string): void {
    this.#over = why;
    for (const { pattern, reject } of this.#waiting) reject(new Error(`${String(pattern)} never came: ${why}`));
  }

  /** Settles as soon as the text has the pattern; fails if it ends without. */
  async until(pattern: RegExp): Promise<void> {
    if (pattern.test(this.text())) return;
    if (this.#over !== undefined) throw new Error(`${String(pattern)} never came: ${this.#over}`);
    await new Promise<void>((resolve, reject) => this.#waiting.push({ pattern, resolve, reject }));
  }
}

export interface Guest extends Omit<RunningVm, 'stdout' | 'stderr'> {
  readonly stdout: Sink;
  readonly stderr: Sink;
}

export type GuestOptions = Omit<RunOptions & BuildOptions, 'stdin' | 'stdout' | 'stderr'> & { readonly input?: string };

/** Starts a guest whose output can be awaited. */
export async function startGuest(target: string, options: GuestOptions = {}): Promise<Guest> {
  const stdout = new Sink();
  const stderr = new Sink();
  const running = await run(target, {
    timeout: GUEST_SECONDS,
    ...options,
    stdin: Readable.from([options.input ?? '']),
    stdout,
    stderr,
  });
  void running.result.then(({ end, log }) => {
    for (const sink of [stdout, stderr]) sink.over(`the guest ended with ${JSON.stringify(end)}, ${stderr.text().slice(-500)} (${log})`);
  });
  return Object.assign(running, { stdout, stderr });
}

export interface GuestResult extends RunResult {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a guest to its end; keeps its log if it did not exit with `status`. */
export async function runGuest(target: string, options: GuestOptions & { readonly status?: number } = {}): Promise<GuestResult> {
  const guest = await startGuest(target, options);
  const result = await guest.result;
  if (result.end.kind !== 'exit' || result.end.status !== (options.status ?? 0)) {
    await mkdir(evidence, { recursive: true });
    await copyFile(result.log, join(evidence, basename(result.log)));
  }
  return { ...result, stdout: guest.stdout.text(), stderr: guest.stderr.text() };
}

export interface CommandResult {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program of the host to its end. */
export async function host(file: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** Boots a kernel or an image without the tool, in emulation, with the serial console as standard output. */
export const bareQemu = (seconds: number, machine: string, words: readonly string[]): Promise<CommandResult> =>
  host('timeout', [
    String(seconds),
    QEMU,
    '-M',
    machine,
    ...['-accel', 'tcg', '-cpu', 'max', '-no-reboot', '-nodefaults', '-display', 'none', '-serial', 'stdio'],
    ...words,
  ]);

/** A TCP port of the loopback interface that is free now. */
export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))));
    });
  });
}

/** The tool itself, as a user runs it. */
export const ukl = join(projectRoot, 'ukl');
