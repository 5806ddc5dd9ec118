// SPDX-License-Identifier: MIT
/**
 * What is kept of a container, below the runtime's root:
 *
 *     ID/container.json   who it is, written by `create` and then by its process alone
 *     ID/config.json      the bundle's, as it was at `create`
 *     ID/socket           where its process listens
 *
 * Its image is on a disk, as the root is usually memory.
 */
import { readFileSync } from 'node:fs';
import { copyFile, lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { replace, stateRoot } from '../detached/record.js';
import { errnoOf, UklError } from '../lib/errors.js';
import { hashValue } from '../lib/hash.js';
import { type BundleConfig, bundleConfig, OCI_VERSIONS, readDocument } from './spec.js';

/** A process by its number and when it began (field 22 of proc(5)'s stat): numbers are given again. */
const processId = z.object({ pid: z.int(), began: z.string() });
type ProcessId = z.output<typeof processId>;

const record = z.object({
  version: z.literal(1),
  id: z.string(),
  bundle: z.string(),
  created: z.string(),
  annotations: z.record(z.string(), z.string()),
  /** Who makes it. */
  creator: processId,
  /** The container's process; undefined while it is made. */
  process: processId.optional(),
  /** What a process that lives is; it is "created" before. */
  state: z.enum(['created', 'running', 'paused']),
});
export type ContainerRecord = z.output<typeof record>;

/** As the specification has it. */
export type ContainerStatus = 'creating' | 'created' | 'running' | 'paused' | 'stopped';

/** What names a directory and is no option. */
const ID = /^[\w+.][\w+.-]{0,1023}$/;

/** The root that is not said. */
export const usualRoot = (): string => (process.getuid?.() === 0 ? '/run/ukl-oci' : join(process.env.XDG_RUNTIME_DIR ?? '/tmp', 'ukl-oci'));

/** A container by its name, with its places on this host. */
export class Place {
  readonly root: string;
  readonly id: string;

  /** Throws UKL_USAGE for a word that is no name. */
  constructor(root: string, id: string) {
    if (!ID.test(id) || id === '.' || id === '..')
      throw new UklError('UKL_USAGE', `'${id}' is no name of a container`, { hint: 'letters, digits and _ + . -' });
    this.root = root;
    this.id = id;
  }

  get directory(): string {
    return join(this.root, this.id);
  }

  get socket(): string {
    return join(this.directory, 'socket');
  }

  /** For what is too large for memory. */
  get storage(): string {
    return join(stateRoot(), 'containers', hashValue(this.directory).slice(0, 32));
  }

  get image(): string {
    return join(this.storage, 'image');
  }
}

/** When a process that lives began; undefined for one that has ended, and waits at most for its parent. */
function beginOf(pid: number): string | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

const lives = ({ pid, began }: ProcessId): boolean => beginOf(pid) === began;

/** Throws UKL_VMM if it has ended already. */
export function identify(pid: number): ProcessId {
  const began = beginOf(pid);
  if (began === undefined) throw new UklError('UKL_VMM', `the container's process ${pid} has ended`, { hint: 'the runtime has said why on standard error' });
  return { pid, began };
}

/** Records say which processes are to be killed: they are believed where nobody else can write. Throws UKL_HOST for other places. */
async function checkRoot(root: string): Promise<void> {
  const info = await lstat(root).catch(() => undefined);
  if (info === undefined || (info.isDirectory() && info.uid === process.getuid?.() && (info.mode & 0o022) === 0)) return;
  throw new UklError('UKL_HOST', `others than this user can write to ${root}`, { hint: 'a directory of your own: --root DIRECTORY' });
}

/** Throws UKL_USAGE for one that is not there. */
export async function readRecord(place: Place): Promise<ContainerRecord> {
  await checkRoot(place.root);
  try {
    return await readDocument(join(place.directory, 'container.json'), record);
  } catch (error) {
    if (error instanceof UklError && errnoOf(error.cause) === 'ENOENT')
      throw new UklError('UKL_USAGE', `container ${place.id} does not exist in ${place.root}`, {
        hint: 'ukl-oci list, with the --root that it was made with',
        cause: error,
      });
    throw error;
  }
}

export const writeRecord = (place: Place, value: ContainerRecord): Promise<void> => replace(join(place.directory, 'container.json'), value);

/** The bundle's configuration as it was at `create`. */
export const readConfig = (place: Place): Promise<BundleConfig> => readDocument(join(place.directory, 'config.json'), bundleConfig);

export function statusOf({ creator, process, state }: ContainerRecord): ContainerStatus {
  if (process === undefined) return lives(creator) ? 'creating' : 'stopped';
  return lives(process) ? state : 'stopped';
}

/** The state as the specification has it. */
export function stateOf(container: ContainerRecord, status = statusOf(container)): object {
  const { id, bundle, annotations, process } = container;
  return {
    ociVersion: OCI_VERSIONS.max,
    id,
    status,
    ...(process === undefined || status === 'stopped' ? {} : { pid: process.pid }),
    bundle,
    annotations,
  };
}

/**
 * Takes a name by making its directory.
 *
 * @throws UKL_USAGE if a container has the name
 */
export async function claim(place: Place, bundle: string, { annotations }: BundleConfig): Promise<ContainerRecord> {
  await mkdir(place.root, { recursive: true, mode: 0o700 });
  await checkRoot(place.root);
  try {
    await mkdir(place.directory, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    throw new UklError('UKL_USAGE', `container ${place.id} already exists in ${place.root}`, { hint: `ukl-oci delete --force ${place.id}, or another name` });
  }
  const made: ContainerRecord = {
    version: 1,
    id: place.id,
    bundle,
    created: new Date().toISOString(),
    annotations,
    creator: identify(process.pid),
    state: 'created',
  };
  await writeRecord(place, made);
  await copyFile(join(bundle, 'config.json'), join(place.directory, 'config.json'));
  return made;
}

export async function release(place: Place): Promise<void> {
  await rm(place.storage, { recursive: true, force: true });
  // The name is free again last.
  await rm(place.directory, { recursive: true, force: true });
}

/** All containers of a root. */
export async function containers(root: string): Promise<ContainerRecord[]> {
  const names = await readdir(root, { withFileTypes: true }).catch(() => []);
  const found = await Promise.all(names.map((entry) => (entry.isDirectory() ? readRecord(new Place(root, entry.name)).catch(() => undefined) : undefined)));
  return found.filter((one) => one !== undefined).sort((a, b) => (a.id < b.id ? -1 : 1));
}
