// SPDX-License-Identifier: MIT
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { hashValue } from '../lib/hash.js';
import { withLock } from '../lib/lock.js';
import type { Log } from '../lib/log.js';
import { storeRoot } from '../lib/paths.js';
import { makeScratch } from '../lib/scratch.js';
import { copyPrebuilt, findPrebuilt, PACKAGE, type Prebuilt } from './prebuilt.js';

/**
 * Content-addressed results: an entry's name is the hash of everything that
 * went into it, and an entry exists only once it is complete (it is renamed
 * into place), so an interrupted build leaves nothing that could be used.
 */
export interface StoreRecipe {
  /** What it is: "kernel", "source", ... The first part of the entry's name. */
  readonly kind: string;
  /** Shown while it is made. */
  readonly title: string;
  /** Everything that determines the result; hashed as JSON. */
  readonly key: unknown;
  /** Where a release may carry the result. */
  readonly prebuilt?: Prebuilt;
  /**
   * Makes the result in `output`, an empty directory.  `work` is a scratch
   * directory that survives an interruption, so that the next attempt resumes.
   */
  readonly make: (context: {
    readonly output: string;
    readonly work: string;
    readonly progress: (detail: string) => void;
    readonly log: string;
  }) => Promise<void>;
}

export interface StoreContext {
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
}

export function entryName(recipe: Pick<StoreRecipe, 'kind' | 'key'>): string {
  return `${recipe.kind}-${hashValue(recipe.key).slice(0, 16)}`;
}

/** Whether the result is there already. */
export function inStore(recipe: Pick<StoreRecipe, 'kind' | 'key'>): boolean {
  return existsSync(join(storeRoot(), entryName(recipe)));
}

/** Says in an entry what it is, and what it took since `start`. */
async function describe(output: string, { kind, key }: Pick<StoreRecipe, 'kind' | 'key'>, start: number): Promise<void> {
  const record = { kind, key, seconds: Math.round((performance.now() - start) / 100) / 10, made: new Date().toISOString() };
  await writeFile(join(output, '.store.json'), `${JSON.stringify(record, null, 2)}\n`);
}

/** A directory for what there is only once, and no recipe makes again. If `make` fails, nothing is left of it. */
export async function newEntry(kind: string, make: (output: string) => Promise<void>): Promise<string> {
  const start = performance.now();
  const key = randomUUID();
  const root = storeRoot();
  await mkdir(join(root, 'tmp'), { recursive: true });
  await using scratch = await makeScratch('entry', join(root, 'tmp'));
  const output = join(scratch.path, 'output');
  await mkdir(output, { mode: 0o700 });
  await make(output);
  await describe(output, { kind, key }, start);
  const entry = join(root, entryName({ kind, key }));
  await rename(output, entry);
  return entry;
}

/** The directory of the result, made now if the store does not have it. */
export async function fromStore(recipe: StoreRecipe, context: StoreContext): Promise<string> {
  const root = storeRoot();
  const name = entryName(recipe);
  const entry = join(root, name);
  if (existsSync(entry)) {
    // What is in use is recent.
    await utimes(entry, new Date(), new Date());
    return entry;
  }

  await mkdir(join(root, 'locks'), { recursive: true });
  return withLock(
    join(root, 'locks', name),
    async () => {
      if (existsSync(entry)) return entry;
      const output = join(root, 'tmp', name);
      const work = join(root, 'work', name);
      const log = join(root, 'logs', `${name}.log`);
      await rm(output, { recursive: true, force: true });
      await mkdir(output, { recursive: true });
      await mkdir(work, { recursive: true });
      await mkdir(join(root, 'logs'), { recursive: true });
      await context.log.step(recipe.title, async (progress) => {
        const start = performance.now();
        const ready = recipe.prebuilt === undefined ? undefined : await findPrebuilt(recipe.prebuilt);
        try {
          if (ready === undefined) await recipe.make({ output, work, progress, log });
          else {
            progress(`copy it from ${PACKAGE}`);
            await copyPrebuilt(ready, output);
          }
        } catch (error) {
          await rm(output, { recursive: true, force: true });
          throw error;
        }
        await describe(output, recipe, start);
        await rename(output, entry);
        await rm(work, { recursive: true, force: true });
      });
      return entry;
    },
    { onWait: () => context.log.info(`waiting: another ukl is at work on the same step (${recipe.title})`), signal: context.signal },
  );
}

/** What an entry says of itself: .store.json. */
const recordSchema = z.object({ seconds: z.number().optional() });

export interface StoreEntry {
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  readonly usedAt: Date;
  readonly seconds: number | undefined;
}

async function treeSize(path: string): Promise<number> {
  const info = await stat(path).catch(() => undefined);
  if (!info) return 0;
  if (!info.isDirectory()) return info.blocks * 512;
  const names = await readdir(path);
  const sizes = await Promise.all(names.map((name) => treeSize(join(path, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** What the store holds, or what it has of a kind, with sizes in bytes on the disk. */
export async function listStore(kind?: string): Promise<StoreEntry[]> {
  const root = storeRoot();
  const names = (await readdir(root).catch(() => [])).filter(
    (name) => (kind === undefined || name.startsWith(`${kind}-`)) && existsSync(join(root, name, '.store.json')),
  );
  return Promise.all(
    names.sort().map(async (name) => {
      const path = join(root, name);
      const record = await readFile(join(path, '.store.json'), 'utf8')
        .then((text) => recordSchema.parse(JSON.parse(text)))
        .catch(() => undefined);
      return {
        name,
        path,
        bytes: await treeSize(path),
        usedAt: (await stat(path)).mtime,
        seconds: record?.seconds,
      };
    }),
  );
}
