// SPDX-License-Identifier: MIT
/** Guests that are saved once they are ready, and go on from that as often as one is wanted. */
import { chmod } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { netKind } from '../devices/nic.js';
import { hostnameOf, type Instance } from '../guest/spec.js';
import { openImage } from '../image/image.js';
import { UklError } from '../lib/errors.js';
import { hashValue } from '../lib/hash.js';
import { silentLog } from '../lib/log.js';
import { makeScratch } from '../lib/scratch.js';
import type { Image, Network, SnapshotRecord } from '../model/index.js';
import type { UklConfig } from '../options/config.js';
import type { BuildOptions, RunOptions } from '../options/given.js';
import { optionsIn } from '../options/options.js';
import { findSnapshot, nameSnapshot, SNAPSHOT } from '../store/snapshots.js';
import { fromStore } from '../store/store.js';
import { imageOf, type RunningVm, runImage } from './launch.js';
import { plan, type RunPlan } from './plan.js';
import { afterSaving, blameDisk, checkSavable, completeSnapshot, partsOf, readRecord, recordOf, type Snapshot } from './saved.js';

export interface SaveOptions extends RunOptions, BuildOptions {
  /** Replaces one of that name. */
  readonly name: string;
  /** The guest is saved once something in it listens on this port, or once the program says that it is ready; the first port of the image by default. */
  readonly ready?: number | undefined;
}

/** How long the program may take to be ready, in seconds, unless a timeout says otherwise. */
const READY_SECONDS = 600;

/** What a restore may say for itself; the machine stays what was saved. */
const OWN: readonly string[] = ['args', 'env', 'ports', 'timeout', 'accel', 'vmm', 'net', 'network', 'macAddress', 'hostname'];

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
  const planned = await plan(image, given);
  checkSavable(planned, options);
  const port = options.ready ?? image.manifest.run.ports.find(({ protocol }) => protocol === 'tcp')?.guest;
  const record = await recordOf(planned, options, port ?? 'word');
  const { argv, env, networks } = planned;
  const directory = await fromStore(
    {
      kind: SNAPSHOT,
      title: `save ${image.manifest.name}`,
      // A variable's value may be a secret, and keys are kept in clear.
      key: { parts: record.parts, told: hashValue([argv, env, networks]), ready: record.ready },
      make: async ({ output, progress }) => {
        await chmod(output, 0o700);
        progress(port === undefined ? 'wait for the program to say that it is ready' : `wait for port ${port}`);
        const { stdin: _, ...quiet } = given;
        await using vm = await runImage(image, { ...quiet, timeout: options.timeout ?? READY_SECONDS, holdsReady: true });
        if (options.stdout === undefined) vm.stdout.resume();
        if (options.stderr === undefined) vm.stderr.resume();
        await awaitReady(vm, port);
        progress('save');
        await blameDisk(output, async () => {
          await vm.saveFiles(output);
          await completeSnapshot(output, image, record);
        });
      },
    },
    { log, signal: options.signal },
  );
  await nameSnapshot(options.name, basename(directory));
  return afterSaving(options.name, directory, log);
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
export function checkOwn(name: string, options: RunOptions & BuildOptions): void {
  const given = [...optionsIn('run'), ...optionsIn('build')].find((option) => {
    const value = options[option];
    return !OWN.includes(option) && value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0);
  });
  if (given !== undefined && given !== 'verbose')
    throw new UklError('UKL_USAGE', `the snapshot '${name}' has its own '${given}'`, {
      hint: `ukl snapshot save TARGET --name ${name}, with what it is to be`,
    });
}

/** How the machine is started: as the saved one was, but for what is an instance's own. */
function optionsOf(name: string, { options: saved }: SnapshotRecord, given: RunOptions): RunOptions {
  const kinds = (net: RunOptions['net']): string => [net ?? 'user'].flat().map(netKind).join(', ');
  if (given.net !== undefined && kinds(given.net) !== kinds(saved.net))
    throw new UklError('UKL_USAGE', `the snapshot '${name}' has the networks ${kinds(saved.net)}, and not ${kinds(given.net)}`, {
      hint: '--net for each, of the same kinds in the same order',
    });
  const shared = [saved.net ?? 'user'].flat().some((net) => !['user', 'none'].includes(netKind(net)));
  const foreign = (['network', 'macAddress'] as const).find((option) => given[option] !== undefined);
  if (!shared && foreign !== undefined)
    throw new UklError('UKL_USAGE', `the snapshot '${name}' has its own '${foreign}', in a network that it shares with nobody`, { hint: 'leave it out' });
  const fixed = [saved.network ?? []].flat().find((text) => text.includes('/'));
  if (shared && fixed !== undefined && given.network === undefined)
    throw new UklError('UKL_USAGE', `the snapshot '${name}' has the address ${fixed} in a network that it shares`, {
      hint: '--network, with an address for this one, or dhcp',
    });
  return { ...saved, net: given.net ?? saved.net, network: given.network ?? saved.network, hostname: given.hostname ?? saved.hostname };
}

/** What an instance is told of the networks that it shares with others: in those of the VMM's own, nobody meets another. */
function ownNetworks({ machine: { nics }, networks }: RunPlan): Network[] {
  const servers = networks.flatMap(({ dns }) => dns);
  return nics.flatMap((nic, index) => {
    if (nic.kind === 'user') return [];
    const how = nics.length === 1 ? networks[0] : networks.find(({ mac }) => mac === nic.mac);
    return [{ addresses: [], gateways: [], ...how, interface: `eth${index}`, mac: nic.mac, dns: servers }];
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
 * @throws UKL_USAGE if there is none, UKL_HOST if this host cannot, and a start in its place would be another guest
 */
export const openSnapshot = async (name: string, options: RunOptions = {}): Promise<OpenSnapshot> => openFiles(name, await findSnapshot(name), options);

/** The same, of a snapshot whose files are in a directory. */
export async function openFiles(name: string, directory: string, options: RunOptions = {}): Promise<OpenSnapshot> {
  const record = await readRecord(directory);
  const image = await openImage(join(directory, 'image'));
  const differs = await whyNot(image, { ...options, ...optionsOf(name, record, options), ports: [], imagePorts: false }, record);
  if (differs !== undefined && record.ready === undefined)
    throw new UklError('UKL_HOST', `'${name}' was saved with another ${differs}: this host cannot go on with it`, {
      hint: `ukl run ${image.path}, to start the same image anew`,
    });
  if (differs !== undefined) options.log?.warn(`'${name}' was saved with another ${differs}: it is started anew`);
  return {
    differs,
    async standby(given = {}) {
      checkOwn(name, given);
      const { verbose: _, ...own } = { ...options, ...given };
      const { args, env } = own;
      const hostname = own.hostname === undefined ? undefined : hostnameOf(own.hostname);
      const machine = optionsOf(name, record, own);
      if (differs !== undefined) {
        return anew(image, { ...own, ...machine, args: args?.length ? args : record.options.args, env: { ...record.options.env, ...env } });
      }
      let go: (instance: Instance) => void = () => {};
      const instance = new Promise<Instance>((resolve) => {
        go = resolve;
      });
      let onLoaded: () => void = () => {};
      const loaded = new Promise<void>((resolve) => {
        onLoaded = resolve;
      });
      const vm = await runImage(image, { ...own, ...machine }, { memory: join(directory, 'memory'), state: join(directory, 'state'), instance, onLoaded });
      void vm.result.finally(onLoaded).catch(() => {});
      return {
        vm,
        loaded,
        go: (as = {}) => go({ args, env, hostname, networks: ownNetworks(vm.plan), ...as }),
        [Symbol.asyncDispose]: () => vm[Symbol.asyncDispose](),
      };
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
 * @throws UKL_USAGE if there is none, or for what is the snapshot's own; UKL_HOST as `openSnapshot`
 */
export const restore = async (name: string, options: RunOptions = {}): Promise<RunningVm> => restoreFiles(name, await findSnapshot(name), options);

/** The same, of a snapshot whose files are in a directory. */
export async function restoreFiles(name: string, directory: string, options: RunOptions): Promise<RunningVm> {
  checkOwn(name, options);
  const { vm, go } = await (await openFiles(name, directory, options)).standby();
  go();
  return vm;
}
