// SPDX-License-Identifier: MIT
/** Guests that are saved once they are ready, and go on from that as often as one is wanted. */
import { chmod, copyFile, link, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Instance } from '../guest/spec.js';
import { openImage } from '../image/image.js';
import { UklError } from '../lib/errors.js';
import { hashValue } from '../lib/hash.js';
import { silentLog } from '../lib/log.js';
import { makeScratch } from '../lib/scratch.js';
import type { Image, SnapshotRecord } from '../model/index.js';
import { snapshotRecord } from '../model/snapshot.js';
import type { UklConfig } from '../options/config.js';
import type { BuildOptions, RunOptions } from '../options/given.js';
import { optionsIn } from '../options/options.js';
import { findSnapshot, nameSnapshot, pruneSnapshots, SNAPSHOT, snapshotNames } from '../store/snapshots.js';
import { fromStore, listStore } from '../store/store.js';
import { imageOf, type RunningVm, runImage } from './launch.js';
import { plan, type RunPlan } from './plan.js';

export interface SaveOptions extends RunOptions, BuildOptions {
  /** Replaces one of that name. */
  readonly name: string;
  /** The guest is saved once something in it listens on this port, or once the program says that it is ready; the first port of the image by default. */
  readonly ready?: number | undefined;
}

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

/** How long the program may take to be ready, in seconds, unless a timeout says otherwise. */
const READY_SECONDS = 600;

/** What a restore may say for itself; the machine stays what was saved. */
const OWN: readonly string[] = ['args', 'env', 'ports', 'timeout', 'accel', 'vmm'];

/** What a machine must be to go on from what another one like it has saved. */
async function partsOf({ vmm, machine, image }: RunPlan): Promise<Readonly<Record<string, string>>> {
  const { nics, payload, memoryFile, incoming, accel, ...same } = machine;
  const words = 'cmdline' in payload ? payload.cmdline : '';
  return {
    ...(await vmm.identity(accel)),
    image: hashValue(image.manifest),
    accelerator: accel,
    "kernel's words": words,
    machine: hashValue([vmm.name, same, nics.map(({ kind }) => kind)]),
  };
}

/** Throws UKL_USAGE for what keeps a guest from being saved. */
function checkSavable({ vmm, machine, image }: RunPlan, options: RunOptions): void {
  const refused: readonly (readonly [boolean, string, string])[] = [
    [!vmm.supports.snapshots, `${vmm.title} does not save guests`, '--vmm qemu'],
    [machine.transport !== 'virtio-serial', 'a guest without an init cannot be saved', "profile: 'server'"],
    [machine.type !== 'microvm', `a ${machine.type} is not saved: microvm is`, '--machine microvm'],
    [machine.disks.length + machine.attached.length > 0, 'a guest with disks is not saved: its clones would all write to them', 'without --disk and --attach'],
    [machine.shares.length > 0, 'a guest with volumes is not saved: QEMU cannot move them', '--file, to pack what the program reads'],
    [image.manifest.run.data.length > 0, "a guest with data on the machine's disks is not saved", 'without data in ukl.config'],
    [machine.nics.some(({ kind }) => kind !== 'user'), 'a guest is saved in the user network, or in none', '--net user'],
    [options.gdb === true || machine.icount || machine.plugin !== undefined, 'a guest under gdb, --icount or a plugin is not saved', 'without them'],
  ];
  const first = refused.find(([is]) => is);
  if (first !== undefined) throw new UklError('UKL_USAGE', first[1], { hint: first[2] });
}

/** Waits until a guest is to be saved. Throws UKL_VMM if it ends first. */
async function awaitReady(vm: RunningVm, port: number | undefined): Promise<void> {
  const listens = port === undefined ? undefined : vm.listening(port);
  listens?.catch(() => {});
  await Promise.race([vm.ready, ...(listens === undefined ? [] : [listens])]);
  if (vm.state !== 'ended') return;
  const { end } = await vm.result;
  throw new UklError('UKL_VMM', `the guest ended before it was ready: ${JSON.stringify(end)}`, {
    hint: 'ukl run, to see why; docs/snapshots.md says how a program tells that it is ready',
  });
}

/** A file under a second name, or a copy of it on another file system. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  await link(from, to).catch(() => copyFile(from, to));
}

/**
 * Starts a target, waits until it is ready, saves it and ends it. What was
 * saved before from the same is found again.
 *
 * @throws UKL_USAGE for what cannot be saved, UKL_VMM if the guest ends first
 */
export async function saveSnapshot(target: string | UklConfig, options: SaveOptions): Promise<Snapshot> {
  const log = options.log ?? silentLog;
  await using scratch = await makeScratch('save');
  const [image, left] = await imageOf(target, scratch.path, options);
  const { verbose: _, ...given } = left;
  const planned = await plan(image, { ...given, snapshots: true });
  checkSavable(planned, options);
  const { machine, argv, env } = planned;
  const port = options.ready ?? image.manifest.run.ports.find(({ protocol }) => protocol === 'tcp')?.guest;
  const record: SnapshotRecord = {
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
    },
    ready: port ?? 'word',
    made: new Date().toISOString(),
  };
  const directory = await fromStore(
    {
      kind: SNAPSHOT,
      title: `save ${image.manifest.name}`,
      // A variable's value may be a secret, and keys are kept in clear.
      key: { format: FORMAT, parts: record.parts, told: hashValue([argv, env, planned.networks]), ready: record.ready },
      make: async ({ output, progress }) => {
        await chmod(output, 0o700);
        progress(port === undefined ? 'wait for the program to say that it is ready' : `wait for port ${port}`);
        const { stdin: _, ...quiet } = given;
        await using vm = await runImage(image, { ...quiet, timeout: options.timeout ?? READY_SECONDS, snapshots: true, holdsReady: true });
        if (options.stdout === undefined) vm.stdout.resume();
        if (options.stderr === undefined) vm.stderr.resume();
        await awaitReady(vm, port);
        progress('save');
        await vm.save(output);
        await linkOrCopy(image.path, join(output, 'image'));
        await writeFile(join(output, 'snapshot.json'), JSON.stringify(record));
      },
    },
    { log, signal: options.signal },
  );
  await nameSnapshot(options.name, basename(directory));
  for (const name of await pruneSnapshots(directory)) log.info(`removed ${name}: snapshots take more than UKL_SNAPSHOT_QUOTA allows`);
  const saved = (await listSnapshots()).find(({ name }) => name === options.name);
  if (saved === undefined) throw new UklError('UKL_BUG', `the snapshot '${options.name}' is gone`);
  return saved;
}

/** All names, with what they are of. */
export async function listSnapshots(): Promise<Snapshot[]> {
  const entries = new Map((await listStore(SNAPSHOT)).map((entry) => [entry.name, entry]));
  const found: Snapshot[] = [];
  for (const [name, entry] of await snapshotNames()) {
    const stored = entries.get(entry);
    if (stored === undefined) continue;
    // Another version of ukl has made its own in the same store.
    const record = await readRecord(stored.path).catch(() => undefined);
    if (record === undefined) continue;
    found.push({ name, directory: stored.path, made: new Date(record.made), usedAt: stored.usedAt, bytes: stored.bytes });
  }
  return found;
}

async function readRecord(directory: string): Promise<SnapshotRecord> {
  try {
    return snapshotRecord.parse(JSON.parse(await readFile(join(directory, 'snapshot.json'), 'utf8')));
  } catch (error) {
    throw new UklError('UKL_IMAGE', `${directory} is not a snapshot that this ukl can read`, { hint: 'ukl snapshot save, to make it again', cause: error });
  }
}

/** A guest that waits, with a VMM that has started, to become an instance. */
export interface Standby extends AsyncDisposable {
  readonly vm: RunningVm;
  /** Settles once it has the snapshot's state, or when it never will: nothing but the guest's own part is left then. */
  readonly loaded: Promise<void>;
  /** Lets it go on. */
  go(instance?: Instance): void;
}

/** What differs between what was saved and what this host would start. */
function difference(saved: Readonly<Record<string, string>>, now: Readonly<Record<string, string>>): string[] {
  return [...new Set([...Object.keys(saved), ...Object.keys(now)])].filter((name) => saved[name] !== now[name]);
}

/** Throws UKL_USAGE for options that would make another machine. */
function checkOwn(name: string, options: RunOptions & BuildOptions): void {
  const given = [...optionsIn('run'), ...optionsIn('build')].find((option) => {
    const value = options[option];
    return !OWN.includes(option) && value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0);
  });
  if (given !== undefined && given !== 'verbose')
    throw new UklError('UKL_USAGE', `the snapshot '${name}' has its own '${given}'`, {
      hint: `ukl snapshot save TARGET --name ${name}, with what it is to be`,
    });
}

/** A snapshot that was looked at once, for many instances. */
export interface OpenSnapshot {
  /** What keeps this host from going on with it: it is started anew. */
  readonly differs: string | undefined;
  /** Starts the VMM for an instance, ahead of its use. Throws UKL_USAGE for what is the snapshot's own. */
  standby(options?: RunOptions): Promise<Standby>;
}

/**
 * Looks at a snapshot, and whether this host can go on with it.
 *
 * @throws UKL_USAGE if there is none
 */
export async function openSnapshot(name: string, options: RunOptions = {}): Promise<OpenSnapshot> {
  const directory = await findSnapshot(name);
  const record = await readRecord(directory);
  const image = await openImage(join(directory, 'image'));
  const differs = await whyNot(image, { ...options, ...record.options, ports: [], imagePorts: false }, record);
  if (differs !== undefined) options.log?.warn(`'${name}' was saved with another ${differs}: it is started anew`);
  return {
    differs,
    async standby(given = {}) {
      checkOwn(name, given);
      const { verbose: _, ...own } = { ...options, ...given };
      const { args, env } = own;
      if (differs !== undefined) {
        return anew(image, { ...own, ...record.options, args: args?.length ? args : record.options.args, env: { ...record.options.env, ...env } });
      }
      let go: (instance: Instance) => void = () => {};
      const instance = new Promise<Instance>((resolve) => {
        go = resolve;
      });
      let onLoaded: () => void = () => {};
      const loaded = new Promise<void>((resolve) => {
        onLoaded = resolve;
      });
      const vm = await runImage(
        image,
        { ...own, ...record.options },
        { memory: join(directory, 'memory'), state: join(directory, 'state'), instance, onLoaded },
      );
      void vm.result.finally(onLoaded).catch(() => {});
      return { vm, loaded, go: (as = {}) => go({ args, env, ...as }), [Symbol.asyncDispose]: () => vm[Symbol.asyncDispose]() };
    },
  };
}

/** What keeps this host from going on with what was saved. */
async function whyNot(image: Image, options: RunOptions, record: SnapshotRecord): Promise<string | undefined> {
  const found = difference(record.parts, await partsOf(await plan(image, options)));
  return found.length === 0 ? undefined : found.join(' and another ');
}

async function anew(image: Image, options: RunOptions): Promise<Standby> {
  const vm = await runImage(image, options);
  return { vm, loaded: Promise.resolve(), go: () => {}, [Symbol.asyncDispose]: () => vm[Symbol.asyncDispose]() };
}

/**
 * Goes on from a saved guest: as a new one, with its own random numbers, time,
 * arguments and variables. What this host cannot go on with is started anew.
 *
 * @throws UKL_USAGE if there is none, or for what is the snapshot's own
 */
export async function restore(name: string, options: RunOptions = {}): Promise<RunningVm> {
  checkOwn(name, options);
  const { vm, go } = await (await openSnapshot(name, options)).standby();
  go();
  return vm;
}
