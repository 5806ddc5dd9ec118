// SPDX-License-Identifier: MIT
/** `ukl up` and `ukl down` */
import { rm } from 'node:fs/promises';
import pc from 'picocolors';
import { loadProject, type Project } from '../../compose/file.js';
import { down, guestOf, up, volumesOf } from '../../compose/up.js';
import { currentStatus } from '../../detached/client.js';
import { JournalReader } from '../../detached/journal.js';
import { directoryOf } from '../../detached/record.js';
import { onChanges } from '../../lib/watch.js';
import { EXIT } from '../../model/exit-status.js';
import { type GlobalOptions, logFor, printJson } from '../output.js';
import type { Interruptible } from '../run.js';
import { columns } from './tables.js';

export interface UpFlags extends GlobalOptions {
  readonly file: string;
  readonly detach?: boolean;
  readonly recreate?: boolean;
}

/** Prints what all services print, each line with the service in front, until they have ended or the signal aborts. */
async function followAll(project: Project, signal: AbortSignal): Promise<void> {
  const services = Object.keys(project.services);
  const width = Math.max(...services.map((service) => service.length));
  await Promise.all(
    services.map(async (service) => {
      const name = guestOf(project, service);
      await using reader = new JournalReader(directoryOf(name));
      const head = pc.dim(`${service.padEnd(width)} | `);
      let open = false;
      await onChanges(
        directoryOf(name),
        async () => {
          const ended = (await currentStatus(name).catch(() => undefined))?.state === 'exited';
          for (const { stream, text } of await reader.next()) {
            process[stream].write(open ? text : head + text);
            open = !text.endsWith('\n');
          }
          return !ended;
        },
        signal,
      );
    }),
  );
}

/** `ukl up`: attached, Ctrl-C ends the guests. */
export async function upCommand(flags: UpFlags, { signal }: Interruptible): Promise<number> {
  const project = await loadProject(flags.file);
  const results = await up(project, { log: logFor(flags), signal, recreate: flags.recreate });
  if (flags.json) {
    printJson({ ok: true, project: project.name, services: results });
    return EXIT.ok;
  }
  process.stdout.write(columns([['SERVICE', 'GUEST', ''], ...results.map(({ service, guest, done }) => [service, guest, done])]));
  if (flags.detach) return EXIT.ok;
  await followAll(project, signal);
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
