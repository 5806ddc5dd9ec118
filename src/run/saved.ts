// SPDX-License-Identifier: MIT
/** Guests that were saved: what can be, what is kept of one, and under which names. */
import { link, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errnoOf, UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import { hashValue } from '../lib/hash.js';
import { silentLog } from '../lib/log.js';
import { storeRoot } from '../lib/paths.js';
import type { Image, SnapshotRecord } from '../model/index.js';
import { snapshotRecord } from '../model/snapshot.js';
import type { RunOptions } from '../options/given.js';
import { checkNewName, nameNewSnapshot, pruneSnapshots, SNAPSHOT, snapshotNames } from '../store/snapshots.js';
import { listStore, newEntry } from '../store/store.js';
import type { RunPlan } from './plan.js';

/** A guest that was saved. */
export interface Snapshot {
  readonly name: string;
  /** With the files `memory`, `state` and `image`. */
  readonly directory: string;
  readonly made: Date;
  readonly usedAt: Date;
  /** On the disk. */
  readonly bytes: number;
}

const FORMAT: SnapshotRecord['format'] = 1;

/** What the files have, which `src/vmms/qemu/state.ts` writes and reads. */
const FORM = 'devices alone';

/** What a machine must be to go on from what another one like it has saved. */
export async function partsOf({ vmm, machine, image }: RunPlan): Promise<Readonly<Record<string, string>>> {
  const { nics, payload, saved, accel, ...same } = machine;
  const words = 'cmdline' in payload ? payload.cmdline : '';
  return {
    ...(await vmm.identity(accel)),
    image: hashValue(image.manifest),
    accelerator: accel,
    "kernel's words": words,
    machine: hashValue([vmm.name, same, nics.map(({ kind }) => kind)]),
    'form of the state': FORM,
  };
}

/** Throws UKL_USAGE for what keeps a guest from being saved. */
export function checkSavable({ vmm, machine, image }: RunPlan, options: RunOptions): void {
  const refused: readonly (readonly [boolean, string, string])[] = [
    [!vmm.supports.snapshots, `${vmm.title} does not save guests`, '--vmm qemu'],
    [machine.transport !== 'virtio-serial', 'a guest without an init cannot be saved', "profile: 'server'"],
    [machine.type !== 'microvm', `a ${machine.type} is not saved: microvm is`, '--machine microvm'],
    [machine.disks.length + machine.attached.length > 0, 'a guest with disks is not saved: its clones would all write to them', 'without --disk and --attach'],
    [machine.shares.length > 0, 'a guest with volumes is not saved: QEMU cannot move them', '--file, to pack what the program reads'],
    [image.manifest.run.data.length > 0, "a guest with data on the machine's disks is not saved", 'without data in ukl.config'],
    [options.gdb === true || machine.icount || machine.plugin !== undefined, 'a guest under gdb, --icount or a plugin is not saved', 'without them'],
  ];
  const first = refused.find(([is]) => is);
  if (first !== undefined) throw new UklError('UKL_USAGE', first[1], { hint: first[2] });
}

/** What is kept of a guest, with what it was started with. `ready` is what it waited for, if it was started to be saved. */
export async function recordOf(planned: RunPlan, options: RunOptions, ready?: SnapshotRecord['ready']): Promise<SnapshotRecord> {
  const { machine, argv, image } = planned;
  return {
    format: FORMAT,
    parts: await partsOf(planned),
    options: {
      memory: `${machine.memoryMiB}M`,
      cpus: machine.cpus,
      cpu: machine.cpu,
      args: argv.slice(image.manifest.run.command.length),
      env: { ...options.env },
      kernelArgs: [...(options.kernelArgs ?? [])],
      network: options.network === undefined ? undefined : [options.network].flat(),
      net: options.net === undefined ? undefined : [options.net].flat(),
      hostname: options.hostname,
      hosts: options.hosts === undefined ? undefined : [...options.hosts],
      verbose: options.verbose,
    },
    ready,
    made: new Date().toISOString(),
  };
}

/** A file under a second name, or on another file system a copy of it, with its holes. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  await link(from, to).catch(async (error: unknown) => {
    if (errnoOf(error) !== 'EXDEV' && errnoOf(error) !== 'EPERM') throw error;
    await exec('cp', ['--sparse=always', from, to]);
  });
}

/** Completes what has the memory and the state of a guest. */
export async function completeSnapshot(directory: string, image: Image, record: SnapshotRecord): Promise<void> {
  await linkOrCopy(image.path, join(directory, 'image'));
  await writeFile(join(directory, 'snapshot.json'), JSON.stringify(record), { mode: 0o600 });
}

/** A snapshot's files in another directory as well, which keeps them when the snapshot is removed. */
export async function pinSnapshot(directory: string, to: string): Promise<void> {
  for (const name of ['memory', 'state', 'image', 'snapshot.json']) await linkOrCopy(join(directory, name), join(to, name));
}

/** Throws UKL_IMAGE for what is no snapshot. */
export async function readRecord(directory: string): Promise<SnapshotRecord> {
  try {
    return snapshotRecord.parse(JSON.parse(await readFile(join(directory, 'snapshot.json'), 'utf8')));
  } catch (error) {
    throw new UklError('UKL_IMAGE', `${directory} is not a snapshot that this ukl can read`, { hint: 'ukl snapshot save, to make it again', cause: error });
  }
}

/** All names, with what they are of. */
export async function listSnapshots(): Promise<Snapshot[]> {
  const entries = new Map((await listStore(SNAPSHOT)).map((entry) => [entry.name, entry]));
  const found: Snapshot[] = [];
  for (const [name, entry] of await snapshotNames()) {
    const stored = entries.get(entry);
    if (stored === undefined) continue;
    // One of another ukl's is listed, and can be removed.
    const made = await readRecord(stored.path).then(
      (record) => new Date(record.made),
      () => stored.usedAt,
    );
    found.push({ name, directory: stored.path, made, usedAt: stored.usedAt, bytes: stored.bytes });
  }
  return found;
}

/** The snapshot of a name that was just given, once others have made room for it. */
export async function afterSaving(name: string, directory: string, log = silentLog): Promise<Snapshot> {
  for (const removed of await pruneSnapshots(directory)) log.info(`removed ${removed}: snapshots take more than UKL_SNAPSHOT_QUOTA allows`);
  const saved = (await listSnapshots()).find((one) => one.name === name);
  if (saved === undefined) throw new UklError('UKL_BUG', `the snapshot '${name}' is gone`);
  return saved;
}

/** Less than this is no room: QEMU's part of the memory is gone by then. */
const ROOM_BYTES = 16 * 1024 ** 2;

/** Writes into a directory. Throws UKL_DISK_FULL if the disk is why that fails. */
export async function blameDisk(directory: string, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    // QEMU does not say why it could not write.
    const { bavail, bsize } = await statfs(directory);
    if (errnoOf(error) !== 'ENOSPC' && errnoOf(error) !== 'EDQUOT' && bavail * bsize > ROOM_BYTES) throw error;
    throw new UklError('UKL_DISK_FULL', `no space left for the snapshot in ${storeRoot()}`, {
      hint: 'ukl snapshot ls, and rm; ukl clean; or UKL_STORE on another disk',
      cause: error,
    });
  }
}

/**
 * Saves a guest as it runs, under a name that is new. Nothing is left of one that fails.
 *
 * @param write puts `memory` and `state` into a directory
 * @throws UKL_USAGE for what cannot be saved or a name that is taken, UKL_DISK_FULL
 */
export async function saveRunning(name: string, planned: RunPlan, options: RunOptions, write: (directory: string) => Promise<void>): Promise<Snapshot> {
  await checkNewName(name);
  checkSavable(planned, options);
  const record = await recordOf(planned, options);
  const directory = await newEntry(SNAPSHOT, (output) =>
    blameDisk(output, async () => {
      await write(output);
      await completeSnapshot(output, planned.image, record);
    }),
  );
  try {
    await nameNewSnapshot(name, basename(directory));
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
  return afterSaving(name, directory, options.log);
}
