// SPDX-License-Identifier: MIT
/** Names of saved guests, and how much room these may take. The guests are entries of the store. */
import { existsSync } from 'node:fs';
import { link, mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, UklError } from '../lib/errors.js';
import { nearest } from '../lib/nearest.js';
import { storeRoot } from '../lib/paths.js';
import { parseSize } from '../lib/size.js';
import { listStore } from './store.js';

/** Of a store entry's name. */
export const SNAPSHOT = 'snapshot';

/** What all saved guests may take together, unless UKL_SNAPSHOT_QUOTA says otherwise. */
const QUOTA = '16G';

const namesDirectory = (): string => join(storeRoot(), 'snapshots');

/** Throws UKL_USAGE for what is no name of a file. */
export function checkSnapshotName(name: string): void {
  if (/^[\w-][\w.-]{0,99}$/.test(name)) return;
  throw new UklError('UKL_USAGE', `'${name}' is no name for a snapshot`, { hint: 'letters, digits, dot, dash and underscore only' });
}

/** Gives an entry a name; another one that had it loses it. */
export async function nameSnapshot(name: string, entry: string): Promise<void> {
  await writeName(name, entry, rename);
}

/** Gives an entry a name that nothing has. Throws UKL_USAGE otherwise. */
export async function nameNewSnapshot(name: string, entry: string): Promise<void> {
  await writeName(name, entry, async (partial, path) => {
    await link(partial, path).catch(async (error: unknown) => {
      if (errnoOf(error) !== 'EEXIST') throw error;
      throw nameTaken(name);
    });
  });
}

async function writeName(name: string, entry: string, place: (partial: string, path: string) => Promise<void>): Promise<void> {
  checkSnapshotName(name);
  await mkdir(namesDirectory(), { recursive: true });
  const path = join(namesDirectory(), name);
  const partial = `${path}.${process.pid}~`;
  await writeFile(partial, entry);
  try {
    await place(partial, path);
  } finally {
    await rm(partial, { force: true });
  }
}

const nameTaken = (name: string): UklError =>
  new UklError('UKL_USAGE', `there is a snapshot '${name}' already`, { hint: `ukl snapshot rm ${name}, or another name` });

/** Throws UKL_USAGE for a name that a snapshot has, or that is none. */
export async function checkNewName(name: string): Promise<void> {
  checkSnapshotName(name);
  if ((await snapshotNames()).has(name)) throw nameTaken(name);
}

/** All names, with the names of their entries. */
export async function snapshotNames(): Promise<ReadonlyMap<string, string>> {
  const names = (await readdir(namesDirectory()).catch(() => [])).filter((name) => !name.endsWith('~')).sort();
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(namesDirectory(), name), 'utf8')] as const)));
}

/** The directory of a saved guest. Throws UKL_USAGE if none has the name. */
export async function findSnapshot(name: string): Promise<string> {
  checkSnapshotName(name);
  const entry = await readFile(join(namesDirectory(), name), 'utf8').catch(() => undefined);
  if (entry !== undefined && existsSync(join(storeRoot(), entry))) {
    // What is in use is recent.
    await utimes(join(storeRoot(), entry), new Date(), new Date());
    return join(storeRoot(), entry);
  }
  const near = nearest(name, [...(await snapshotNames()).keys()]);
  throw new UklError('UKL_USAGE', `there is no snapshot '${name}'`, {
    hint: near === undefined ? `ukl snapshot save TARGET --name ${name}` : `did you mean '${near}'? ukl snapshot ls`,
  });
}

/** Removes a name, and the saved guest if no other name leads to it. Throws UKL_USAGE. */
export async function removeSnapshot(name: string): Promise<void> {
  const path = await findSnapshot(name);
  await rm(join(namesDirectory(), name));
  if (![...(await snapshotNames()).values()].includes(path.slice(storeRoot().length + 1))) await rm(path, { recursive: true, force: true });
}

/**
 * Removes saved guests, the one that was not used for longest first, until the
 * others are within the quota. `keep` stays. A guest that runs from one goes on.
 */
export async function pruneSnapshots(keep: string): Promise<readonly string[]> {
  const quota = parseSize(process.env.UKL_SNAPSHOT_QUOTA || QUOTA);
  const entries = (await listStore(SNAPSHOT)).sort((a, b) => a.usedAt.getTime() - b.usedAt.getTime());
  let bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  const removed: string[] = [];
  for (const entry of entries) {
    if (bytes <= quota) break;
    if (entry.path === keep) continue;
    await rm(entry.path, { recursive: true, force: true });
    bytes -= entry.bytes;
    removed.push(entry.name);
  }
  for (const [name, entry] of await snapshotNames()) if (removed.includes(entry)) await rm(join(namesDirectory(), name), { force: true });
  return removed;
}
