// SPDX-License-Identifier: MIT

import { formatSize } from '../lib/size.js';
import { EXIT } from '../model/exit-status.js';
import type { UklConfig } from '../options/config.js';
import { listSnapshots, type SaveOptions, type Snapshot, saveSnapshot } from '../run/snapshot.js';
import { removeSnapshot as remove } from '../store/snapshots.js';
import { type GlobalOptions, printJson } from './output.js';

const documentOf = ({ name, directory, made, usedAt, bytes }: Snapshot): object => ({ name, directory, made, usedAt, bytes });

/** `ukl snapshot save` */
export async function saveCommand(target: string | UklConfig, options: SaveOptions, flags: GlobalOptions): Promise<number> {
  const saved = await saveSnapshot(target, options);
  if (flags.json) printJson({ ok: true, snapshot: documentOf(saved) });
  else if (!flags.quiet) process.stdout.write(`${saved.name}: ${formatSize(saved.bytes)} in ${saved.directory}\nukl run --from-snapshot ${saved.name}\n`);
  return EXIT.ok;
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
