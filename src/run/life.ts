// SPDX-License-Identifier: MIT
/** The states of a guest, and what may follow what. */
import { UklError } from '../lib/errors.js';

/**
 * created: the VMM is being started.  booting: it runs, the program does not
 * yet.  running: the program does.  paused: the machine's processors stand
 * still.  ended: the VMM is gone.
 */
export type GuestState = 'created' | 'booting' | 'running' | 'paused' | 'ended';

const NEXT: Readonly<Record<GuestState, readonly GuestState[]>> = {
  created: ['booting', 'ended'],
  booting: ['running', 'paused', 'ended'],
  running: ['paused', 'ended'],
  paused: ['booting', 'running', 'ended'],
  ended: [],
};

/** Where a guest is in its life. */
export class Life {
  #state: GuestState = 'created';
  /** What a paused guest goes back to. */
  #before: 'booting' | 'running' = 'booting';

  get state(): GuestState {
    return this.#state;
  }

  /** Throws UKL_VMM, naming what cannot be done, if a state cannot follow the present one. */
  enter(next: GuestState, what: string): void {
    if (!NEXT[this.#state].includes(next))
      throw new UklError('UKL_VMM', `cannot ${what}: the guest ${this.#state === 'ended' ? 'has ended' : `is ${this.#state}`}`);
    if (next === 'paused' && this.#state !== 'paused') this.#before = this.#state === 'running' ? 'running' : 'booting';
    this.#state = next;
  }

  /** The program started; a machine that is being paused keeps that in mind. */
  started(): void {
    if (this.#state === 'paused') this.#before = 'running';
    else if (this.#state === 'booting') this.#state = 'running';
  }

  resumed(): void {
    if (this.#state !== 'paused') throw new UklError('UKL_VMM', `cannot resume: the guest ${this.#state === 'ended' ? 'has ended' : `is ${this.#state}`}`);
    this.enter(this.#before, 'resume');
  }

  ended(): void {
    this.#state = 'ended';
  }
}
