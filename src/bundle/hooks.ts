// SPDX-License-Identifier: MIT
/** Programs that an engine wants to be run at points of a container's life, with its state on their standard input. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as elapse } from 'node:timers/promises';
import { errnoOf, UklError } from '../lib/errors.js';
import { TIMEOUT_MAX } from '../model/image.js';
import { variablesOf } from '../runtimes/container/app.js';
import type { Hook } from './spec.js';

/** How long the last words of a hook that has ended are waited for: what it has left behind may keep its output open. */
const LAST_WORDS_MS = 200;

/** Ends a process with its group. */
function killAll(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Already gone.
  }
}

/** How a process ended, as far as it was no success. */
async function endOf(child: ChildProcess): Promise<string | undefined> {
  const closed = once(child, 'close').catch(() => {});
  const how = await new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(errnoOf(error) ?? error.message));
    child.once('exit', (code, signal) => resolve(code === 0 ? undefined : signal === null ? `status ${code}` : `killed by ${signal}`));
  });
  if (how !== undefined) await Promise.race([closed, elapse(LAST_WORDS_MS)]);
  return how;
}

async function runHook({ path, args, env, timeout }: Hook, name: string, state: object): Promise<void> {
  const [first = path, ...rest] = args ?? [];
  const child = spawn(path, rest, { argv0: first, env: variablesOf(env), stdio: ['pipe', 'ignore', 'pipe'], detached: true });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2000);
  });
  child.stdin.on('error', () => {}); // it need not read
  child.stdin.end(JSON.stringify(state));
  let late = false;
  const expire = (): void => {
    late = true;
    killAll(child.pid);
  };
  const timer = timeout === undefined ? undefined : setTimeout(expire, Math.min(timeout, TIMEOUT_MAX) * 1000);
  const how = await endOf(child);
  clearTimeout(timer);
  for (const stream of [child.stdin, child.stderr]) stream.destroy();
  if (how === undefined) return;
  const why = late ? `it took longer than ${timeout} s` : how;
  throw new UklError('UKL_COMMAND', `the ${name} hook ${path} failed: ${why}${complaint === '' ? '' : `: ${complaint.trim()}`}`, {
    hint: 'the engine says which hooks there are',
  });
}

/** Runs hooks one after the other. Throws UKL_COMMAND at the first that fails. */
export async function runHooks(hooks: readonly Hook[], name: string, state: object): Promise<void> {
  for (const hook of hooks) await runHook(hook, name, state);
}
