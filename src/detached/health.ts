// SPDX-License-Identifier: MIT
/** Asks a guest at intervals whether it serves. */
import { setTimeout as elapse } from 'node:timers/promises';
import { UklError } from '../lib/errors.js';
import { TIMEOUT_MAX } from '../model/image.js';
import type { RunningVm } from '../run/launch.js';
import { isListening } from '../run/ready.js';
import type { GuestStatus, HealthCheck } from './record.js';

/** An answer that takes longer is none. */
const ANSWER_MS = 30_000;

export type Health = NonNullable<GuestStatus['health']>;

/** Whether a check passes now; rejects or says false if not. */
type Probe = (vm: RunningVm, signal: AbortSignal) => Promise<boolean>;

function probeOf(test: string): Probe {
  const [, kind, rest = ''] = /^(tcp|http|exec):(.+)$/.exec(test) ?? [];
  const [, port, path] = /^(\d{1,5})(\/.*)?$/.exec(rest) ?? [];
  if (kind === 'exec')
    return async (vm, signal) => {
      await using session = await vm.exec(['/bin/sh', '-c', rest], { signal });
      session.stdout.resume();
      session.stderr.resume();
      return (await session.end).exitCode === 0;
    };
  if (kind === 'tcp' && port !== undefined && path === undefined) return (vm) => isListening(vm, Number(port));
  if (kind === 'http' && port !== undefined)
    return async (vm, signal) => (await fetch(`http://127.0.0.1:${vm.port(Number(port))}${path ?? '/'}`, { signal, redirect: 'manual' })).status < 400;
  throw new UklError('UKL_USAGE', `'${test}' is no health check`, { hint: "--health tcp:PORT, http:PORT/path, or 'exec:COMMAND'" });
}

/** Throws UKL_USAGE for a check that nobody can make. */
export function checkHealth({ test, intervalSeconds }: HealthCheck): void {
  probeOf(test);
  if (!(intervalSeconds > 0 && intervalSeconds <= TIMEOUT_MAX))
    throw new UklError('UKL_USAGE', `a health check cannot be made every ${intervalSeconds} seconds`, { hint: `above 0, and at most ${TIMEOUT_MAX}` });
}

/** Checks until the signal aborts, and reports each change. */
export async function watchHealth(
  vm: RunningVm,
  { test, intervalSeconds, retries }: HealthCheck,
  report: (health: Health) => void,
  over: AbortSignal,
): Promise<void> {
  const probe = probeOf(test);
  let health: Health = 'starting';
  let failures = 0;
  await vm.started;
  while (!over.aborted) {
    const answered = await probe(vm, AbortSignal.any([over, AbortSignal.timeout(ANSWER_MS)])).catch(() => false);
    if (over.aborted) return;
    failures = answered ? 0 : failures + 1;
    const now: Health = answered ? 'healthy' : failures >= retries ? 'unhealthy' : health;
    if (now !== health) report(now);
    health = now;
    await elapse(intervalSeconds * 1000, undefined, { signal: over }).catch(() => {});
  }
}
