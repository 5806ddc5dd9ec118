// SPDX-License-Identifier: MIT
/**
 * What is kept of a detached guest: a directory of its own with
 *
 *     spec.json     what runs, written once by whoever started it
 *     status.json   how it goes, written by its supervisor alone
 *     image         where the target was none itself, with its image.host.json
 *     snapshot/     or a saved guest's files, if it goes on from one
 *     journal       what the program printed (journal.ts)
 *     socket        where its supervisor listens, while there is one
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf, UklError } from '../lib/errors.js';
import { nearest } from '../lib/nearest.js';

/** What a name may consist of: it names a directory, a host and a metric's label. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;

const check = z.object({
  /** "tcp:PORT", "http:PORT/path" or "exec:COMMAND". */
  test: z.string(),
  intervalSeconds: z.number(),
  /** Failures in a row after which the guest is unhealthy. */
  retries: z.number(),
});
export type HealthCheck = z.output<typeof check>;

const restart = z.object({
  policy: z.enum(['no', 'on-failure', 'always', 'unless-stopped']),
  /** Of on-failure: how often at most. */
  limit: z.number().optional(),
});
export type RestartPolicy = z.output<typeof restart>;

const spec = z.object({
  version: z.literal(1),
  name: z.string(),
  /** As the user wrote it. */
  target: z.string(),
  image: z.string(),
  /** It goes on from a saved guest, whose files are in `snapshot` beside this. */
  restores: z.boolean().optional(),
  /** Where relative paths of the options are meant from. */
  directory: z.string(),
  created: z.string(),
  /** Of `run()`, without what only a program can hand over. */
  options: z.record(z.string(), z.unknown()),
  restart,
  health: check.optional(),
  /** Whether standard input waits for who attaches; it is at its end otherwise. */
  interactive: z.boolean(),
  /** Removed when it has ended. */
  remove: z.boolean(),
  /** Processors' time that it may have, in processors. */
  cpuLimit: z.number().optional(),
  stopSignal: z.string(),
  /** What it is in a project of `ukl up`, and a hash of what was said of it there. */
  project: z.object({ name: z.string(), service: z.string(), hash: z.string() }).optional(),
});
export type GuestSpec = z.output<typeof spec>;

const status = z.object({
  state: z.enum(['starting', 'running', 'paused', 'restarting', 'exited']),
  health: z.enum(['starting', 'healthy', 'unhealthy']).optional(),
  /** Of the supervisor, and of the VMM. */
  pid: z.number(),
  vmmPid: z.number().optional(),
  started: z.string().optional(),
  ended: z.string().optional(),
  restarts: z.number(),
  exitCode: z.number().optional(),
  /** By a user, rather than with this machine. */
  stopped: z.boolean().optional(),
  /** In words, where it did not simply exit. */
  reason: z.string().optional(),
  /** "127.0.0.1:8080->80/tcp" */
  ports: z.array(z.object({ address: z.string(), host: z.number(), guest: z.number(), protocol: z.enum(['tcp', 'udp']) })),
  memoryMiB: z.number().optional(),
  /** The control group that limits it: its supervisor removes it, or who forgets a guest whose supervisor was killed. */
  group: z.string().optional(),
  /** The kernel's console of the last start. */
  log: z.string().optional(),
});
export type GuestStatus = z.output<typeof status>;

/** What is kept on a disk, since images and journals are too large for a runtime directory in memory. */
export const stateRoot = (): string => join(process.env.XDG_STATE_HOME || join(homedir(), '.local/state'), 'ukl');

/** Where detached guests are kept. */
export const guestsRoot = (): string => join(stateRoot(), 'guests');

export const directoryOf = (name: string): string => join(guestsRoot(), name);

/** Where the files of a saved guest are that it goes on from. */
export const snapshotOf = (name: string): string => join(directoryOf(name), 'snapshot');

/** Where its supervisor listens. Only this user may enter the directory. */
export const socketOf = (name: string): string => join(directoryOf(name), 'socket');

/** What is locked while a guest, or a project, is started: no guest has that name. */
export const lockOf = (name: string): string => join(guestsRoot(), `.${name}.lock`);

/** Throws UKL_USAGE for a word that cannot name a guest. */
export function checkName(name: string): void {
  if (!NAME.test(name))
    throw new UklError('UKL_USAGE', `'${name}' is no name of a guest`, { hint: 'letters, digits, and - _ . behind the first: --name web-1' });
}

/** Replaces a file as a whole: who reads meanwhile sees the one or the other. */
export async function replace(path: string, value: object): Promise<void> {
  const partial = `${path}.${process.pid}`;
  await writeFile(partial, JSON.stringify(value, null, 2));
  await rename(partial, path);
}

async function read<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw new UklError('UKL_HOST', `${path} cannot be read: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`, {
      hint: 'remove the directory that it is in',
      cause: error,
    });
  }
}

export const readSpec = (name: string): Promise<GuestSpec | undefined> => read(join(directoryOf(name), 'spec.json'), spec);
export const writeSpec = (value: GuestSpec): Promise<void> => replace(join(directoryOf(value.name), 'spec.json'), value);
export const readStatus = (name: string): Promise<GuestStatus | undefined> => read(join(directoryOf(name), 'status.json'), status);
export const writeStatus = (name: string, value: GuestStatus): Promise<void> => replace(join(directoryOf(name), 'status.json'), value);

/**
 * Takes a name by making its directory.
 *
 * @throws UKL_USAGE if a guest has the name
 */
export async function claim(name: string): Promise<void> {
  checkName(name);
  await mkdir(guestsRoot(), { recursive: true, mode: 0o700 });
  try {
    await mkdir(directoryOf(name));
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    throw new UklError('UKL_USAGE', `there is a guest '${name}' already`, { hint: `ukl rm -f ${name}, or another --name` });
  }
}

export const release = (name: string): Promise<void> => rm(directoryOf(name), { recursive: true, force: true });

/** The names of all guests, those that have ended as well. */
export async function names(): Promise<string[]> {
  const found = await readdir(guestsRoot()).catch(() => []);
  return found.filter((name) => NAME.test(name)).sort();
}

/** Whether a word names a guest, and no file here. */
export const isGuest = async (word: string): Promise<boolean> => NAME.test(word) && !existsSync(word) && (await readSpec(word)) !== undefined;

/** @throws UKL_USAGE with the name that was probably meant */
export async function specOf(name: string): Promise<GuestSpec> {
  const found = NAME.test(name) ? await readSpec(name) : undefined;
  if (found !== undefined) return found;
  const near = nearest(name, await names());
  throw new UklError('UKL_USAGE', `there is no guest '${name}'`, { hint: near === undefined ? 'ukl ps -a' : `did you mean '${near}'? ukl ps -a` });
}
