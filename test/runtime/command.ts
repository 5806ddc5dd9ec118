// SPDX-License-Identifier: MIT
/** Commands of engines, and what they are to print. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';

const COMMAND_MS = 120_000;
const RETRY_MS = 250;
const RETRIES = 60;

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export const words = (text: string): string[] => text.split(' ').filter((word) => word !== '');

/** A command with its output; it is ended if it hangs. */
export function command(line: readonly string[], input = ''): Promise<Ended> {
  const [file = '', ...args] = line;
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: COMMAND_MS, killSignal: 'SIGKILL' });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdin.on('error', () => {}); // it need not read
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** What is tried until it succeeds, or ends with its last failure: a server that starts tells nobody. */
export async function eventually(check: () => Promise<void>): Promise<void> {
  for (let left = RETRIES; ; left--) {
    try {
      return await check();
    } catch (error) {
      if (left === 0) throw error;
      await setTimeout(RETRY_MS);
    }
  }
}

export async function expectRun(ended: Promise<Ended>, code: number, stdout: RegExp | string, stderr: RegExp = /^/): Promise<void> {
  const is = await ended;
  assert.equal(is.code, code, `${is.stdout}${is.stderr}`);
  if (typeof stdout === 'string') assert.equal(is.stdout, stdout);
  else assert.match(is.stdout, stdout);
  assert.match(is.stderr, stderr);
}

/** A shell's program that says that it is up, and ends itself when it is told to. */
export const LOOP = 'trap "echo ended; exit 3" TERM; echo up; while :; do sleep 1; done';
export const SERVE = 'mkdir -p /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www';

export type Case = readonly [what: string, check: () => Promise<void>];

/** An engine that is set up: what is tried with it, and how it is taken down. */
export interface Engine extends AsyncDisposable {
  readonly version: string;
  readonly cases: readonly Case[];
}

/** What the containers of a test are made of. */
export interface Given {
  /** A directory of the test's own. */
  readonly work: string;
  readonly runtime: string;
  /** A docker-archive of localhost/box, which is busybox. */
  readonly box: string;
  /** What `ukl build --container oci` made of examples/hello. */
  readonly unikernel: string;
}
