// SPDX-License-Identifier: MIT
/** Starts a guest that goes on without the tool, and ends it. */
import { constants, existsSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { openImage } from '../image/image.js';
import { UklError } from '../lib/errors.js';
import { withLock } from '../lib/lock.js';
import { silentLog } from '../lib/log.js';
import { projectRoot } from '../lib/paths.js';
import type { Image } from '../model/index.js';
import { findReference, nameOf } from '../oci/reference.js';
import type { UklConfig } from '../options/config.js';
import type { BuildOptions, RunOptions } from '../options/given.js';
import { optionsIn } from '../options/options.js';
import { imageOf } from '../run/launch.js';
import { isRestore, type RestoreOptions } from '../run/run.js';
import { pinSnapshot, type Snapshot } from '../run/saved.js';
import { checkOwn } from '../run/snapshot.js';
import { checkNewName, findSnapshot } from '../store/snapshots.js';
import { call, currentStatus, gone, isGone, refusalOf } from './client.js';
import { checkHealth } from './health.js';
import { removeGroup } from './limits.js';
import {
  checkName,
  claim,
  directoryOf,
  type GuestSpec,
  type GuestStatus,
  type HealthCheck,
  lockOf,
  names,
  readSpec,
  release,
  snapshotOf,
  specOf,
  writeSpec,
} from './record.js';
import { parseRestart } from './restart.js';
import { spawnDetached } from './spawn.js';

export interface DetachOptions extends RunOptions, BuildOptions {
  /** The target's name by default, with a number if that is taken. */
  readonly name?: string | undefined;
  /** "no", "on-failure[:TIMES]", "always", "unless-stopped". */
  readonly restart?: string | undefined;
  readonly health?: HealthCheck | undefined;
  readonly interactive?: boolean | undefined;
  readonly remove?: boolean | undefined;
  /** Processors' time that it may have: 0.5 is half of one. */
  readonly cpuLimit?: number | undefined;
  readonly stopSignal?: string | undefined;
  /** What it is a service of: it is then on that project's network as well, by an interface behind those of `net`. */
  readonly project?: { readonly name: string; readonly service: string; readonly hash: string } | undefined;
}

/** A name that nobody has: the target's, with a number behind it where needed. */
async function freeName(target: string): Promise<string> {
  const plain =
    basename(target)
      .replace(/\.(image|elf|[cm]?[jt]s|c)$/, '')
      .replace(/[^a-zA-Z0-9_.-]+/g, '-')
      .replace(/^[^a-zA-Z0-9]+/, '')
      .slice(0, 50) || 'guest';
  const taken = new Set(await names());
  for (let number = 1; ; number++) {
    const name = number === 1 ? plain : `${plain}-${number}`;
    if (!taken.has(name)) return name;
  }
}

/** What a guest is called by its target. */
function nameFrom(target: string | UklConfig): string {
  if (typeof target !== 'string') return target.name ?? 'app';
  const reference = existsSync(target) ? undefined : findReference(target);
  return reference === undefined ? resolve(target) : nameOf(reference);
}

/** The options of `run()` that can be written down. */
function writable(options: RunOptions): Record<string, unknown> {
  const kept = optionsIn('run').flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]] as const]));
  return Object.fromEntries(kept);
}

/** The image of a target: an image stays where it is, what is built or was pulled is the guest's own. */
async function imageFor(name: string, target: string | UklConfig, options: DetachOptions): Promise<readonly [Image, DetachOptions]> {
  const [image, left] = await imageOf(target, directoryOf(name), options);
  if (image.beside === undefined) return [image, left];
  const path = join(directoryOf(name), 'image');
  await copyFile(image.path, path, constants.COPYFILE_FICLONE);
  return [{ ...image, path }, left];
}

/** A snapshot as the guest's own, which starts from it again when the snapshot was removed. */
async function pinFor(name: string, snapshot: string, options: DetachOptions): Promise<Image> {
  checkOwn(snapshot, options);
  const directory = snapshotOf(name);
  await mkdir(directory, { mode: 0o700 });
  await pinSnapshot(await findSnapshot(snapshot), directory);
  return openImage(join(directory, 'image'));
}

/** Starts the supervisor of a guest whose record is there; settles when its program runs. */
async function startSupervisor(name: string, signal: AbortSignal | undefined): Promise<void> {
  const { directory } = await specOf(name);
  await spawnDetached({
    program: join(projectRoot, 'dist/supervisor.js'),
    args: [name],
    what: `the supervisor of '${name}'`,
    cwd: directory,
    log: join(directoryOf(name), 'supervisor.log'),
    signal,
  });
}

/**
 * Builds a target if needed, or takes what was saved, and starts it behind a supervisor of its own. The
 * guest goes on when this process ends. Each start of one that was saved goes on from the same.
 *
 * @returns its name, once its program runs
 * @throws what `run` throws; then nothing is left of it
 */
export function detach(saved: DetachOptions & RestoreOptions): Promise<string>;
export function detach(target: string | UklConfig, options?: DetachOptions): Promise<string>;
export async function detach(what: string | UklConfig | (DetachOptions & RestoreOptions), given: DetachOptions = {}): Promise<string> {
  const restores = isRestore(what);
  const target = restores ? what.fromSnapshot : what;
  const options: DetachOptions = restores ? what : given;
  const restart = parseRestart(options.restart ?? 'no');
  if (options.health !== undefined) checkHealth(options.health);
  if (restart.policy !== 'no' && options.remove) throw new UklError('UKL_USAGE', '--rm and --restart exclude each other', { hint: 'leave one out' });
  const said = typeof target === 'string' ? target : (target.name ?? 'app');
  const name = options.name ?? (await freeName(nameFrom(target)));
  checkName(name);
  await claim(name);
  try {
    const [image, left] = restores ? [await pinFor(name, what.fromSnapshot, options), options] : await imageFor(name, target, options);
    await writeSpec({
      version: 1,
      name,
      target: said,
      image: image.path,
      ...(restores ? { restores } : {}),
      directory: process.cwd(),
      created: new Date().toISOString(),
      options: writable(left),
      restart,
      health: options.health,
      interactive: options.interactive ?? false,
      remove: options.remove ?? false,
      cpuLimit: options.cpuLimit,
      stopSignal: options.stopSignal ?? image.manifest.run.stopSignal ?? 'TERM',
      project: options.project,
    });
    await (options.log ?? silentLog).step(`start ${name}`, () => startSupervisor(name, options.signal));
  } catch (error) {
    await release(name);
    throw error;
  }
  return name;
}

/** Starts a guest that has ended, as it was started first. Throws UKL_USAGE if it runs. */
export async function restart(name: string, signal?: AbortSignal): Promise<void> {
  // Two at once would both see that it does not run.
  await specOf(name);
  await withLock(
    lockOf(name),
    async () => {
      const { image } = await specOf(name);
      const status = await currentStatus(name);
      if (status !== undefined && status.state !== 'exited') throw new UklError('UKL_USAGE', `'${name}' runs already`, { hint: `ukl restart ${name}` });
      await openImage(image);
      await startSupervisor(name, signal);
    },
    { signal },
  );
}

/**
 * Ends a guest: its program is asked to, and after so many seconds the machine is turned off. One that has ended stays so.
 *
 * @param shutdown it ends with this machine, and may come back with it (boot.ts)
 */
export async function stop(name: string, seconds = 10, shutdown = false): Promise<GuestStatus | undefined> {
  await specOf(name);
  try {
    const status = (await call(name, 'POST', `/stop?seconds=${seconds}${shutdown ? '&shutdown' : ''}`, true)) as GuestStatus;
    await gone(name);
    return status;
  } catch (error) {
    if (isGone(error)) return currentStatus(name);
    throw error;
  }
}

/** A Snapshot, on its way in JSON. */
const savedAnswer = z.object({ name: z.string(), directory: z.string(), made: z.coerce.date(), usedAt: z.coerce.date(), bytes: z.number() });

/**
 * Saves a guest that runs, under a name that is new; it goes on.
 *
 * @throws what `RunningVm.save()` throws, or UKL_VMM if it does not run
 */
export async function save(name: string, snapshot = name): Promise<Snapshot> {
  await specOf(name);
  await checkNewName(snapshot);
  try {
    return savedAnswer.parse(await call(name, 'POST', `/save?name=${encodeURIComponent(snapshot)}`, true));
  } catch (error) {
    throw refusalOf(name, error);
  }
}

/** Removes what is kept of a guest. Throws UKL_USAGE for one that runs, unless it is to be killed. */
export async function remove(name: string, force: boolean): Promise<void> {
  const spec = await readSpec(name).catch(() => undefined);
  if (spec === undefined && !(await names()).includes(name)) await specOf(name);
  const status = await currentStatus(name).catch(() => undefined);
  if (status !== undefined && status.state !== 'exited') {
    if (!force) throw new UklError('UKL_USAGE', `'${name}' runs`, { hint: `ukl stop ${name}, or ukl rm -f ${name}` });
    // One that was stopped (SIGSTOP) does not answer: the kernel ends its machine with it.
    const answers = await call(name, 'GET', '/status').then(
      () => true,
      () => false,
    );
    if (answers) await stop(name, 0);
    else process.kill(status.pid, 'SIGKILL');
    await gone(name);
  }
  if (status?.group !== undefined) await removeGroup(status.group);
  await release(name);
}

export interface GuestSummary {
  readonly spec: GuestSpec;
  readonly status: GuestStatus | undefined;
}

/** All guests, by name. */
export async function list(): Promise<GuestSummary[]> {
  const all = await Promise.all(
    (await names()).map(async (name) => {
      const spec = await readSpec(name).catch(() => undefined);
      return spec === undefined ? [] : [{ spec, status: await currentStatus(name).catch(() => undefined) }];
    }),
  );
  return all.flat();
}
