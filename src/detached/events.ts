// SPDX-License-Identifier: MIT
/** What happened to guests, for `ukl events`: a line of JSON for each, in one file. */
import { appendFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { guestsRoot } from './record.js';

/** A file that has become larger begins anew. */
const MAX_BYTES = 1024 * 1024;

export interface GuestEvent {
  readonly time: string;
  readonly guest: string;
  readonly event: string;
  readonly exitCode?: number | undefined;
}

/** No guest can have its name: it begins with a dot. */
export const eventsFile = (): string => join(guestsRoot(), '.events');

/** Notes an event. What cannot be noted is lost, and nothing else. */
export async function logEvent(guest: string, event: string, exitCode?: number): Promise<void> {
  const line: GuestEvent = { time: new Date().toISOString(), guest, event, ...(event === 'exited' && exitCode !== undefined ? { exitCode } : {}) };
  try {
    const file = eventsFile();
    if (((await stat(file).catch(() => undefined))?.size ?? 0) > MAX_BYTES) await rename(file, `${file}.1`);
    // One write: lines of several supervisors do not mix (O_APPEND).
    await appendFile(file, `${JSON.stringify(line)}\n`);
  } catch {
    // See above.
  }
}
