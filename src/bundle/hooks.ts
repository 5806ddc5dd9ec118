// SPDX-License-Identifier: MIT
/** Programs that an engine wants to be run at points of a container's life, with its state on their standard input. */
import { spawn } from 'node:child_process';
import { errnoOf, UklError } from '../lib/errors.js';
import { TIMEOUT_MAX } from '../model/image.js';
import { variablesOf } from '../runtimes/container/app.js';
import type { Hook } from './spec.js';

async function runHook({ path, args, env, timeout }: Hook, name: string, state: object): Promise<void> {
  const [first = path, ...rest] = args ?? [];
  const child = spawn(path, rest, { argv0: first, env: variablesOf(env), stdio: ['pipe', 'ignore', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2000);
  });
  child.stdin.on('error', () => {}); // it need not read
  child.stdin.end(JSON.stringify(state));
  const timer = timeout === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), Math.min(timeout, TIMEOUT_MAX) * 1000);
  const how = await new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(errnoOf(error) ?? error.message));
    child.once('close', (code, signal) => resolve(code === 0 ? undefined : signal === null ? `status ${code}` : `killed by ${signal}`));
  });
  clearTimeout(timer);
  if (how !== undefined)
    throw new UklError('UKL_COMMAND', `the ${name} hook ${path} failed: ${how}${complaint === '' ? '' : `: ${complaint.trim()}`}`, {
      hint: 'the engine says which hooks there are',
    });
}

/** Runs hooks one after the other. Throws UKL_COMMAND at the first that fails. */
export async function runHooks(hooks: readonly Hook[], name: string, state: object): Promise<void> {
  for (const hook of hooks) await runHook(hook, name, state);
}
