// SPDX-License-Identifier: MIT
import { setTimeout } from 'node:timers/promises';
import { UklError } from '../lib/errors.js';
import type { Guest } from './guest.js';

/** How often a guest is asked whether its program listens. */
const INTERVAL_MS = 100;

/** Local port and state (0A: it listens) in a line of /proc/net/tcp. */
const LISTENING = /^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /;

/** Whether a process in the program's network listens on a TCP port now. */
export async function isListening(guest: Pick<Guest, 'inspect'>, port: number): Promise<boolean> {
  const lines = [...(await guest.inspect('net/tcp')), ...(await guest.inspect('net/tcp6'))];
  return lines.some((line) => Number.parseInt(LISTENING.exec(line)?.[1] ?? '', 16) === port);
}

/** Settles when a process in the program's network listens on a TCP port. Throws UKL_VMM if the guest ends first, UKL_USAGE if it cannot be asked. */
export async function listening(guest: Guest, port: number): Promise<void> {
  if (!guest.hears) {
    throw new UklError('UKL_USAGE', 'a guest without an init cannot be asked what it listens on', {
      hint: "connect until it answers, or build it with the profile 'server'",
    });
  }
  let over = false;
  const stop = (): void => {
    over = true;
  };
  const ended = guest.result.then(stop, stop);
  while (!over) {
    if (await isListening(guest, port)) return;
    await Promise.race([ended, setTimeout(INTERVAL_MS)]);
  }
  throw new UklError('UKL_VMM', `the guest ended before anything listened on port ${port}`, { hint: 'ukl run, to see why' });
}
