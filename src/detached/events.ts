// SPDX-License-Identifier: MIT
/** What happened to guests, for `ukl events`: records in one file of all supervisors. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from '../lib/lock.js';
import { RecordFile, RecordReader, rotate } from '../lib/records.js';
import { guestsRoot } from './record.js';

/** A file that has become larger begins anew. */
const ROTATE_BYTES = 1024 * 1024;

export interface GuestEvent {
  readonly time: string;
  readonly guest: string;
  readonly event: string;
  readonly exitCode?: number | undefined;
}

/** No guest can have its name: it begins with a dot. */
export const eventsFile = (): string => join(guestsRoot(), '.events');

/** The events that are kept. */
export const eventsOf = (): RecordReader<GuestEvent> => new RecordReader(eventsFile());

/** Begins the file anew, where no other supervisor has just done so. */
async function keepSmall(path: string): Promise<void> {
  const isLarge = (): boolean => (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > ROTATE_BYTES;
  if (isLarge()) await withLock(`${path}.lock`, async () => void (isLarge() && rotate(path)));
}

/** Notes an event. What cannot be noted is lost, and nothing else. */
export async function logEvent(guest: string, event: string, exitCode?: number): Promise<void> {
  const record: GuestEvent = { time: new Date().toISOString(), guest, event, ...(event === 'exited' && exitCode !== undefined ? { exitCode } : {}) };
  try {
    await keepSmall(eventsFile());
    using file = new RecordFile(eventsFile());
    file.append(record);
  } catch {
    // See above.
  }
}
