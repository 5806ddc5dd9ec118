// SPDX-License-Identifier: MIT
/** `ukl up` and `ukl down` */
import { rm } from 'node:fs/promises';
import pc from 'picocolors';
import { loadProject, type Project } from '../../compose/file.js';
import { down, guestOf, up, volumesOf } from '../../compose/up.js';
import { type JournalEntry, journalOf } from '../../detached/journal.js';
import { followGuest } from '../../detached/watch.js';
import { EXIT } from '../../model/exit-status.js';
import { type GlobalOptions, logFor, printJson } from '../output.js';
import type { Interruptible } from '../run.js';
import { columns } from './tables.js';
import { print } from './watch.js';

export interface UpFlags extends GlobalOptions {
  readonly file: string;
  readonly detach?: boolean;
  readonly recreate?: boolean;
}

/** The journals of all services. */
type Readers = Readonly<Record<string, ReturnType<typeof journalOf>>>;

/** Prints what all services print from now on, each line with the service in front, until they have ended or the signal aborts. */
async function followAll(project: Project, readers: Readers, signal: AbortSignal): Promise<void> {
  const width = Math.max(...Object.keys(readers).map((service) => service.length));
  await Promise.all(
    Object.entries(readers).map(async ([service, reader]) => {
      const head = pc.dim(`${service.padEnd(width)} | `);
      let open = false;
      const show = async (entries: readonly JournalEntry[]): Promise<void> => {
        for (const { stream, text } of entries) {
          await print(process[stream], open ? text : head + text);
          open = !text.endsWith('\n');
        }
      };
      await followGuest(guestOf(project, service), reader, show, signal);
    }),
  );
}

/** `ukl up`: attached, Ctrl-C ends the guests. */
export async function upCommand(flags: UpFlags, { signal }: Interruptible): Promise<number> {
  const project = await loadProject(flags.file);
  const readers: Readers = Object.fromEntries(Object.keys(project.services).map((service) => [service, journalOf(guestOf(project, service))]));
  // What is there is of an earlier run.
  for (const reader of Object.values(readers)) await reader.skip();
  try {
    const results = await up(project, { log: logFor(flags), signal, recreate: flags.recreate });
    if (flags.json) {
      printJson({ ok: true, project: project.name, services: results });
      return EXIT.ok;
    }
    process.stdout.write(columns([['SERVICE', 'GUEST', ''], ...results.map(({ service, guest, done }) => [service, guest, done])]));
    if (flags.detach) return EXIT.ok;
    await followAll(project, readers, signal);
  } finally {
    for (const reader of Object.values(readers)) await reader[Symbol.asyncDispose]();
  }
  // They stay known, with their logs: ukl down forgets them.
  for (const name of await down(project, { forget: false })) if (!flags.quiet) process.stderr.write(`${name} has ended\n`);
  return EXIT.ok;
}

export interface DownFlags extends GlobalOptions {
  readonly file: string;
  readonly time?: number;
  readonly volumes?: boolean;
}

/** `ukl down` */
export async function downCommand(flags: DownFlags): Promise<number> {
  const project = await loadProject(flags.file);
  const names = await down(project, { seconds: flags.time, forget: true });
  if (flags.volumes) await rm(volumesOf(project), { recursive: true, force: true });
  if (flags.json) printJson({ ok: true, names });
  else process.stdout.write(names.map((name) => `${name}\n`).join(''));
  return EXIT.ok;
}
