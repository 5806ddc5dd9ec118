// SPDX-License-Identifier: MIT

import { existsSync } from 'node:fs';
import { save as saveGuest } from '../detached/detach.js';
import { isGuest, specOf } from '../detached/record.js';
import { UklError } from '../lib/errors.js';
import { formatSize } from '../lib/size.js';
import { EXIT } from '../model/exit-status.js';
import { findReference } from '../oci/reference.js';
import type { BuildOptions, RunOptions } from '../options/given.js';
import { listSnapshots, type Snapshot } from '../run/saved.js';
import { saveSnapshot } from '../run/snapshot.js';
import { removeSnapshot as remove } from '../store/snapshots.js';
import { type GlobalOptions, printJson } from './output.js';

const documentOf = ({ name, directory, made, usedAt, bytes }: Snapshot): object => ({ name, directory, made, usedAt, bytes });

function tellSaved(saved: Snapshot, flags: GlobalOptions): number {
  if (flags.json) printJson({ ok: true, snapshot: documentOf(saved) });
  else if (!flags.quiet) process.stdout.write(`${saved.name}: ${formatSize(saved.bytes)} in ${saved.directory}\nukl run --from-snapshot ${saved.name}\n`);
  return EXIT.ok;
}

export interface SaveFlags extends GlobalOptions {
  readonly name?: string;
  readonly ready?: number;
}

/** `ukl snapshot save`: of a guest that runs by itself, or of a target, which is started for it. */
export async function saveCommand(target: string, options: RunOptions & BuildOptions, flags: SaveFlags): Promise<number> {
  const { name, ready } = flags;
  if (await isGuest(target)) return tellSaved(await saveGuestCommand(target, options, flags), flags);
  if (name === undefined) {
    // Who meant a guest hears of its name, who meant a target of that.
    if (!existsSync(target) && findReference(target) === undefined) await specOf(target);
    throw new UklError('UKL_USAGE', 'a snapshot of a target needs a name', { hint: `ukl snapshot save ${target} --name NAME` });
  }
  return tellSaved(await saveSnapshot(target, { ...options, name, ready }), flags);
}

/** `ukl snapshot save GUEST [NAME]` */
async function saveGuestCommand(
  guest: string,
  { log, signal, args = [], ...options }: RunOptions & BuildOptions,
  { name, ready }: SaveFlags,
): Promise<Snapshot> {
  const given = Object.entries({ ready, ...options }).find(([, value]) => value !== undefined);
  if (given !== undefined || args.length > 1 || (name !== undefined && args.length > 0))
    throw new UklError('UKL_USAGE', `'${guest}' is a guest that runs, and is saved as it is${given === undefined ? '' : `: '${given[0]}' cannot be added`}`, {
      hint: `ukl snapshot save ${guest} NAME`,
    });
  return saveGuest(guest, name ?? args[0]);
}

/** `ukl snapshot ls` */
export async function listCommand(flags: GlobalOptions): Promise<number> {
  const all = await listSnapshots();
  if (flags.json) printJson({ ok: true, snapshots: all.map(documentOf) });
  else
    for (const { name, bytes, made, usedAt } of all)
      process.stdout.write(`${name.padEnd(24)} ${formatSize(bytes).padStart(10)}  made ${made.toISOString()}  used ${usedAt.toISOString()}\n`);
  return EXIT.ok;
}

/** `ukl snapshot rm` */
export async function removeCommand(names: readonly string[], flags: GlobalOptions): Promise<number> {
  for (const name of names) await remove(name);
  if (flags.json) printJson({ ok: true, removed: names });
  return EXIT.ok;
}
