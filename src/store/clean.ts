// SPDX-License-Identifier: MIT
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { storeRoot } from '../lib/paths.js';
import { listStore, type StoreEntry } from './store.js';

/** What the store has besides its entries. */
const WORKING = ['apt', 'bin', 'hashes', 'locks', 'logs', 'snapshots', 'tmp', 'work'];

export interface Cleaned {
  readonly removed: readonly string[];
  /** Of the store, with their sizes. */
  readonly entries: readonly StoreEntry[];
  /** Of the entries, together. */
  readonly bytes: number;
}

/** Removes what was built in a project and, with `store`, what all projects share. With `dryRun`, only says what that is. */
export async function clean(
  directory: string,
  options: { readonly store?: boolean | undefined; readonly dryRun?: boolean | undefined } = {},
): Promise<Cleaned> {
  const entries = options.store ? await listStore() : [];
  // What else is in the store's directory is not ours.
  const removed = [join(directory, '.ukl'), ...(options.store ? [...entries.map(({ path }) => path), ...WORKING.map((name) => join(storeRoot(), name))] : [])];
  if (!options.dryRun) for (const path of removed) await rm(path, { recursive: true, force: true });
  return { removed, entries, bytes: entries.reduce((sum, entry) => sum + entry.bytes, 0) };
}
