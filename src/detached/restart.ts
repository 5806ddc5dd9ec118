// SPDX-License-Identifier: MIT
/** Whether and when a guest that has ended is started again. */
import { UklError } from '../lib/errors.js';
import type { RestartPolicy } from './record.js';

/** As docker has them: twice as long each time, from the first after a guest that ran for this long. */
const FIRST_WAIT_MS = 100;
const LAST_WAIT_MS = 60_000;
const SETTLED_MS = 10_000;

/** "no", "always", "unless-stopped", "on-failure" or "on-failure:3". Throws UKL_USAGE. */
export function parseRestart(text: string): RestartPolicy {
  const [, policy, limit] = /^(no|always|unless-stopped|on-failure)(?::(\d{1,6}))?$/.exec(text) ?? [];
  if (policy === undefined || (limit !== undefined && policy !== 'on-failure'))
    throw new UklError('UKL_USAGE', `'${text}' is no restart policy`, { hint: '--restart no, on-failure[:TIMES], always or unless-stopped' });
  return { policy: policy as RestartPolicy['policy'], ...(limit === undefined ? {} : { limit: Number(limit) }) };
}

export interface Ended {
  readonly exitCode: number;
  /** How long it ran. */
  readonly ranMs: number;
}

/** Decides by what has happened so far; whoever was told to stop is not asked. */
export class Restarter {
  readonly #policy: RestartPolicy;
  #wait = FIRST_WAIT_MS;
  #times = 0;

  constructor(policy: RestartPolicy) {
    this.#policy = policy;
  }

  get times(): number {
    return this.#times;
  }

  /** Milliseconds to wait before the next start, or undefined if there is none. */
  next({ exitCode, ranMs }: Ended): number | undefined {
    const { policy, limit = Number.POSITIVE_INFINITY } = this.#policy;
    if (policy === 'no' || (policy === 'on-failure' && (exitCode === 0 || this.#times >= limit))) return undefined;
    if (ranMs >= SETTLED_MS) this.#wait = FIRST_WAIT_MS;
    const wait = this.#wait;
    this.#wait = Math.min(2 * wait, LAST_WAIT_MS);
    this.#times++;
    return wait;
  }
}
