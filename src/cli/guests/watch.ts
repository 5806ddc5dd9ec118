// SPDX-License-Identifier: MIT
/** Commands that read what guests leave, and go on reading: logs and events. */

import { once } from 'node:events';
import { dirname } from 'node:path';
import { eventsFile, eventsOf, type GuestEvent } from '../../detached/events.js';
import { type JournalEntry, journalOf, lastOf } from '../../detached/journal.js';
import { specOf } from '../../detached/record.js';
import { followGuest } from '../../detached/watch.js';
import { onChanges } from '../../lib/watch.js';
import { EXIT } from '../../model/exit-status.js';
import { type GlobalOptions, printJson } from '../output.js';

/** Prints as fast as it is taken. */
export async function print(stream: NodeJS.WriteStream, text: string): Promise<void> {
  if (!stream.write(text)) await once(stream, 'drain');
}

export interface LogsFlags extends GlobalOptions {
  readonly follow?: boolean;
  readonly lines?: number;
  readonly timestamps?: boolean;
}

/** `ukl logs` */
export async function logsCommand(name: string, flags: LogsFlags, signal: AbortSignal): Promise<number> {
  await specOf(name);
  await using reader = journalOf(name);
  const show = async (entries: readonly JournalEntry[]): Promise<void> => {
    for (const { time, stream, text } of entries) await print(process[stream], flags.timestamps ? `${time} ${text}` : text);
  };
  const first = await reader.next();
  const shown = flags.lines === undefined ? first : lastOf(first, flags.lines);
  if (flags.json && !flags.follow) {
    printJson({ ok: true, entries: shown });
    return EXIT.ok;
  }
  await show(shown);
  if (flags.follow) await followGuest(name, reader, show, signal);
  return EXIT.ok;
}

function describeEvent({ time, guest, event, exitCode }: GuestEvent): string {
  return `${time} ${guest} ${event}${exitCode === undefined ? '' : ` (${exitCode})`}\n`;
}

/** `ukl events`: those to come; with `past`, those that were, and with `follow` both. */
export async function eventsCommand(flags: GlobalOptions & { readonly past?: boolean; readonly follow?: boolean }, signal: AbortSignal): Promise<number> {
  await using reader = eventsOf();
  const show = async (): Promise<void> => {
    for (const event of await reader.next()) await print(process.stdout, flags.json ? `${JSON.stringify(event)}\n` : describeEvent(event));
  };
  if (flags.past) await show();
  else await reader.skip();
  if (flags.past && !flags.follow) return EXIT.ok;
  await onChanges(
    dirname(eventsFile()),
    async () => {
      await show();
      return true;
    },
    signal,
  );
  return EXIT.ok;
}
