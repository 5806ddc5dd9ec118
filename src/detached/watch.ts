// SPDX-License-Identifier: MIT
/** Waits for what becomes of guests. */
import { onChanges } from '../lib/watch.js';
import { currentStatus, gone } from './client.js';
import type { JournalEntry, journalOf } from './journal.js';
import { directoryOf } from './record.js';

/**
 * Calls `look` at once and for each change of what is kept of a guest, until it says that
 * it has seen enough (false) or the signal aborts. When the guest's supervisor has gone,
 * which changes nothing there if it was killed, `look` is called for the last time.
 */
export async function watchGuest(name: string, look: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  let more = true;
  const left = gone(name, AbortSignal.any([signal, over.signal])).then(() => over.abort());
  try {
    await onChanges(directoryOf(name), async () => (more = await look()), AbortSignal.any([signal, over.signal]));
  } finally {
    over.abort();
    await left;
  }
  if (more && !signal.aborted) await look();
}

/** Hands over what a guest prints as a journal's reader finds it, until the guest has ended for good or the signal aborts. */
export async function followGuest(
  name: string,
  reader: ReturnType<typeof journalOf>,
  show: (entries: readonly JournalEntry[]) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const look = async (): Promise<boolean> => {
    const ended = (await currentStatus(name).catch(() => undefined))?.state === 'exited';
    await show(await reader.next());
    return !ended;
  };
  await watchGuest(name, look, signal);
}
