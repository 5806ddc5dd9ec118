// SPDX-License-Identifier: MIT
/** Commands that read what guests leave, and go on reading: logs and events. */

import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { currentStatus, gone } from '../../detached/client.js';
import { eventsFile, type GuestEvent } from '../../detached/events.js';
import { type JournalEntry, JournalReader, lastOf } from '../../detached/journal.js';
import { directoryOf, specOf } from '../../detached/record.js';
import { errnoOf } from '../../lib/errors.js';
import { LineSplitter } from '../../lib/lines.js';
import { onChanges } from '../../lib/watch.js';
import { EXIT } from '../../model/exit-status.js';
import { type GlobalOptions, printJson } from '../output.js';

async function print(stream: NodeJS.WriteStream, text: string): Promise<void> {
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
  await using reader = new JournalReader(directoryOf(name));
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
  if (!flags.follow) return EXIT.ok;
  const over = new AbortController();
  const watched = AbortSignal.any([signal, over.signal]);
  // A supervisor that was killed changes nothing any more.
  void gone(name, watched).then(() => over.abort());
  await onChanges(
    directoryOf(name),
    async () => {
      const ended = (await currentStatus(name).catch(() => undefined))?.state === 'exited';
      await show(await reader.next());
      return !ended;
    },
    watched,
  );
  over.abort();
  if (!signal.aborted) await show(await reader.next());
  return EXIT.ok;
}

function describeEvent({ time, guest, event, exitCode }: GuestEvent): string {
  return `${time} ${guest} ${event}${exitCode === undefined ? '' : ` (${exitCode})`}\n`;
}

/** `ukl events`: those to come; with `past`, those that were, and with `follow` both. */
export async function eventsCommand(flags: GlobalOptions & { readonly past?: boolean; readonly follow?: boolean }, signal: AbortSignal): Promise<number> {
  const file = eventsFile();
  let at = 0;
  let lines = new LineSplitter();
  const next = async (): Promise<GuestEvent[]> => {
    const opened = await open(file).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (opened === undefined) return [];
    try {
      const { size } = await opened.stat();
      // Begun anew.
      if (size < at) [at, lines] = [0, new LineSplitter()];
      const data = Buffer.alloc(size - at);
      const { bytesRead } = await opened.read(data, 0, data.length, at);
      at += bytesRead;
      return lines.push(data.subarray(0, bytesRead)).map((line) => JSON.parse(line) as GuestEvent);
    } finally {
      await opened.close();
    }
  };
  const past = await next();
  const show = (events: readonly GuestEvent[]): Promise<void> =>
    print(process.stdout, events.map((event) => (flags.json ? `${JSON.stringify(event)}\n` : describeEvent(event))).join(''));
  if (flags.past) await show(past);
  if (flags.past && !flags.follow) return EXIT.ok;
  await onChanges(
    dirname(file),
    async () => {
      await show(await next());
      return true;
    },
    signal,
  );
  return EXIT.ok;
}
