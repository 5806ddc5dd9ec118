// SPDX-License-Identifier: MIT
/** Commands that start, end and list detached guests. */
import { setTimeout as elapse } from 'node:timers/promises';
import { comesBack, unit } from '../../detached/boot.js';
import { call, currentStatus, isGone, refusalOf } from '../../detached/client.js';
import { type DetachOptions, detach, list, remove, restart, stop } from '../../detached/detach.js';
import type { GuestStatus } from '../../detached/record.js';
import { specOf } from '../../detached/record.js';
import type { Usage } from '../../detached/usage.js';
import { UklError } from '../../lib/errors.js';
import { formatSize } from '../../lib/size.js';
import { EXIT } from '../../model/exit-status.js';
import type { RestoreOptions } from '../../run/run.js';
import { type GlobalOptions, printJson } from '../output.js';
import { checkSignal } from './sessions.js';
import { columns, describeGuests, describePorts, guestJson, ofLimit } from './tables.js';

/** Asks a supervisor that has to be there. Throws UKL_VMM if it is not. */
async function ask(name: string, method: 'GET' | 'POST', path: string, patient = false): Promise<unknown> {
  await specOf(name);
  return call(name, method, path, patient).catch((error: unknown) => {
    throw refusalOf(name, error);
  });
}

/** `ukl run -d` */
export async function detachCommand(what: string | RestoreOptions, options: DetachOptions, flags: GlobalOptions): Promise<number> {
  const name = await (typeof what === 'string' ? detach(what, options) : detach({ ...options, ...what }));
  if (flags.json) printJson({ ok: true, name });
  else process.stdout.write(`${name}\n`);
  return EXIT.ok;
}

/** Does something to each guest; goes on after a failure, which is thrown at the end. */
async function each(names: readonly string[], flags: GlobalOptions, work: (name: string) => Promise<unknown>): Promise<number> {
  const failures: unknown[] = [];
  const done: string[] = [];
  for (const name of names) {
    try {
      await work(name);
      done.push(name);
      if (!flags.json) process.stdout.write(`${name}\n`);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  if (flags.json) printJson({ ok: true, names: done });
  return EXIT.ok;
}

/** `ukl ps` */
export async function psCommand(flags: GlobalOptions & { readonly all?: boolean; readonly quiet?: boolean }): Promise<number> {
  const guests = (await list()).filter(({ status }) => flags.all || status?.state !== 'exited');
  if (flags.json) printJson({ ok: true, guests: guests.map(guestJson) });
  else if (flags.quiet) for (const { spec } of guests) process.stdout.write(`${spec.name}\n`);
  else process.stdout.write(describeGuests(guests));
  return EXIT.ok;
}

/** Names, or a flag in their place that stands for some. Throws UKL_USAGE for both, or none. */
function checkNamed(names: readonly string[], flag: string, given: boolean | undefined): void {
  if (names.length > 0 === (given ?? false))
    throw new UklError('UKL_USAGE', given ? `${flag} says by itself which guests` : 'no guest is named', { hint: `names of guests, or ${flag}` });
}

/** `ukl stop`: one after the other, or all at once with the machine. */
export async function stopCommand(names: readonly string[], flags: GlobalOptions & { readonly time?: number; readonly atShutdown?: boolean }): Promise<number> {
  checkNamed(names, '--at-shutdown', flags.atShutdown);
  if (!flags.atShutdown) return each(names, flags, (name) => stop(name, flags.time));
  const running = (await list()).filter(({ status }) => status !== undefined && status.state !== 'exited').map(({ spec }) => spec.name);
  const ends = new Map(running.map((name) => [name, Promise.allSettled([stop(name, flags.time, true)])]));
  return each(running, flags, async (name) => {
    for (const end of (await ends.get(name)) ?? []) if (end.status === 'rejected') throw end.reason;
  });
}

/** `ukl start` */
export async function startCommand(names: readonly string[], flags: GlobalOptions & { readonly atBoot?: boolean }, signal: AbortSignal): Promise<number> {
  checkNamed(names, '--at-boot', flags.atBoot);
  const wanted = flags.atBoot ? (await list()).filter(comesBack).map(({ spec }) => spec.name) : names;
  return each(wanted, flags, (name) => restart(name, signal));
}

/** `ukl systemd` */
export async function systemdCommand(): Promise<number> {
  process.stdout.write(unit(process.getuid?.() === 0, process.env));
  return EXIT.ok;
}

export const restartCommand = (names: readonly string[], flags: GlobalOptions & { readonly time?: number }, signal: AbortSignal): Promise<number> =>
  each(names, flags, async (name) => {
    await stop(name, flags.time);
    await restart(name, signal);
  });

export const killCommand = (names: readonly string[], flags: GlobalOptions & { readonly signal?: string }): Promise<number> => {
  const signal = checkSignal(flags.signal ?? 'KILL');
  return each(names, flags, (name) => ask(name, 'POST', `/signal?signal=${signal}`));
};

export const pauseCommand = (names: readonly string[], flags: GlobalOptions): Promise<number> => each(names, flags, (name) => ask(name, 'POST', '/pause'));
export const unpauseCommand = (names: readonly string[], flags: GlobalOptions): Promise<number> => each(names, flags, (name) => ask(name, 'POST', '/resume'));

export const rmCommand = (names: readonly string[], flags: GlobalOptions & { readonly force?: boolean }): Promise<number> =>
  each(names, flags, (name) => remove(name, flags.force === true));

/** `ukl wait`: prints the exit status of each; its own is the last one's. */
export async function waitCommand(names: readonly string[], flags: GlobalOptions): Promise<number> {
  const ended = await Promise.all(
    names.map(async (name) => {
      await specOf(name);
      const status = await call(name, 'POST', '/wait', true).catch(async (error: unknown) => {
        if (!isGone(error)) throw error;
        return currentStatus(name);
      });
      return { name, exitCode: (status as GuestStatus | undefined)?.exitCode ?? EXIT.lost };
    }),
  );
  if (flags.json) printJson({ ok: true, ended });
  else process.stdout.write(ended.map(({ exitCode }) => `${exitCode}\n`).join(''));
  return ended.at(-1)?.exitCode ?? EXIT.ok;
}

/** `ukl port` */
export async function portCommand(name: string, flags: GlobalOptions): Promise<number> {
  const status = (await ask(name, 'GET', '/status')) as GuestStatus;
  if (flags.json) printJson({ ok: true, ports: status.ports });
  else process.stdout.write(status.ports.map((port) => `${describePorts({ ports: [port] })}\n`).join(''));
  return EXIT.ok;
}

/** `ukl inspect`, of a guest. */
export async function inspectGuest(name: string): Promise<number> {
  printJson({ ok: true, guest: guestJson({ spec: await specOf(name), status: await currentStatus(name) }) });
  return EXIT.ok;
}

interface Sample {
  readonly name: string;
  readonly usage: Usage;
  readonly at: number;
  readonly limitMiB: number | undefined;
}

async function sample(wanted: readonly string[]): Promise<Sample[]> {
  const guests = (await list()).filter(({ spec, status }) => (wanted.length === 0 ? status?.state === 'running' : wanted.includes(spec.name)));
  const samples = await Promise.all(
    guests.map(async ({ spec, status }) => {
      // One that ends meanwhile is not there any more.
      const usage = (await call(spec.name, 'GET', '/usage').catch(() => undefined)) as Usage | undefined;
      return usage === undefined ? [] : [{ name: spec.name, usage, at: performance.now(), limitMiB: status?.memoryMiB }];
    }),
  );
  return samples.flat();
}

/** Milliseconds over which the processors' share is measured. */
const INTERVAL_MS = 1000;

function describeUsage(before: readonly Sample[], now: readonly Sample[]): string {
  return columns([
    ['NAME', 'CPU', 'MEMORY / LIMIT', 'PRIVATE', 'NET IN / OUT', 'EXITS'],
    ...now.map(({ name, usage, at, limitMiB }) => {
      const last = before.find((one) => one.name === name);
      const share = last === undefined ? undefined : (usage.cpuMs - last.usage.cpuMs) / (at - last.at);
      return [
        name,
        share === undefined ? '-' : `${(share * 100).toFixed(1)} %`,
        ofLimit(usage.memoryBytes, limitMiB),
        formatSize(usage.privateBytes),
        `${formatSize(usage.receivedBytes)} / ${formatSize(usage.sentBytes)}`,
        usage.exits === undefined ? '-' : String(usage.exits),
      ];
    }),
  ]);
}

/** `ukl stats`: once a second, or once. */
export async function statsCommand(names: readonly string[], flags: GlobalOptions & { readonly stream?: boolean }, signal: AbortSignal): Promise<number> {
  for (const name of names) await specOf(name);
  if (flags.json) {
    printJson({ ok: true, guests: (await sample(names)).map(({ name, usage }) => ({ name, ...usage })) });
    return EXIT.ok;
  }
  const live = flags.stream !== false && process.stdout.isTTY === true;
  let before = await sample(names);
  do {
    await elapse(INTERVAL_MS, undefined, { signal }).catch(() => {});
    if (signal.aborted) break;
    const now = await sample(names);
    process.stdout.write(`${live ? '\x1b[H\x1b[J' : ''}${describeUsage(before, now)}`);
    before = now;
  } while (live);
  return EXIT.ok;
}
