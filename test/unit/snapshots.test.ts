// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { findSnapshot, nameSnapshot, pruneSnapshots, removeSnapshot, snapshotNames } from '../../src/store/snapshots.js';

let store: string;
beforeEach(async () => {
  store = await mkdtemp(join(tmpdir(), 'ukl-store-'));
  vi.stubEnv('UKL_STORE', store);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(store, { recursive: true, force: true });
});

const MIB = 1024 ** 2;

/** A saved guest of a MiB, used so many seconds ago. */
async function entry(name: string, age: number): Promise<string> {
  const path = join(store, name);
  await mkdir(path, { recursive: true });
  await writeFile(join(path, '.store.json'), '{}');
  await writeFile(join(path, 'memory'), Buffer.alloc(MIB, 1));
  const used = new Date(Date.now() - age * 1000);
  await utimes(path, used, used);
  return path;
}

test('a name leads to what was saved last under it', async () => {
  await entry('snapshot-a', 1);
  await entry('snapshot-b', 1);
  await nameSnapshot('x', 'snapshot-a');
  await nameSnapshot('x', 'snapshot-b');
  expect(await findSnapshot('x')).toBe(join(store, 'snapshot-b'));
  await rm(join(store, 'snapshot-b'), { recursive: true });
  await expect(findSnapshot('x')).rejects.toThrow("there is no snapshot 'x'");
});

test('what has two names goes with the second', async () => {
  const path = await entry('snapshot-a', 1);
  await nameSnapshot('x', 'snapshot-a');
  await nameSnapshot('y', 'snapshot-a');
  await removeSnapshot('x');
  expect(existsSync(path)).toBe(true);
  await removeSnapshot('y');
  expect(existsSync(path)).toBe(false);
});

test('beyond the quota, what was not used for longest goes first, and its name; other entries of the store stay', async () => {
  for (const [name, age] of [
    ['snapshot-old', 30],
    ['snapshot-used', 20],
    ['snapshot-new', 10],
    ['kernel-old', 40],
  ] as const)
    await entry(name, age);
  await nameSnapshot('old', 'snapshot-old');
  await nameSnapshot('used', 'snapshot-used');
  await findSnapshot('old');
  vi.stubEnv('UKL_SNAPSHOT_QUOTA', '3M');
  expect(await pruneSnapshots(join(store, 'snapshot-new'))).toEqual(['snapshot-used']);
  expect([...(await snapshotNames()).keys()]).toEqual(['old']);
  vi.stubEnv('UKL_SNAPSHOT_QUOTA', '1M');
  expect(await pruneSnapshots(join(store, 'snapshot-new'))).toEqual(['snapshot-old']);
  expect(existsSync(join(store, 'kernel-old'))).toBe(true);
});

test.each(['', '.', '..', 'a/b', '../x', '.hidden', 'a b', 'x'.repeat(101)])('%j is no name', async (name) => {
  await expect(nameSnapshot(name, 'snapshot-a')).rejects.toMatchObject({ code: 'UKL_USAGE' });
});
