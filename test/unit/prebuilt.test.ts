// SPDX-License-Identifier: MIT
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hashFile } from '../../src/lib/hash.js';
import { silentLog } from '../../src/lib/log.js';
import { type Prebuilt, prebuiltKey } from '../../src/store/prebuilt.js';
import { fromStore } from '../../src/store/store.js';

let work: string;
const before = { ...process.env };
const wanted: Prebuilt = { name: 'thing', key: { source: 1 } };

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-prebuilt-'));
  process.env.UKL_STORE = join(work, 'store');
  process.env.UKL_PREBUILT = join(work, 'package');
  const entry = join(work, 'package/entries/thing');
  await mkdir(join(entry, 'sub'), { recursive: true });
  await writeFile(join(entry, 'sub/file'), 'carried');
  const files = { 'sub/file': await hashFile(join(entry, 'sub/file')) };
  await writeFile(join(entry, 'prebuilt.json'), JSON.stringify({ key: prebuiltKey(wanted), files }));
});
afterEach(async () => {
  process.env = { ...before };
  await rm(work, { recursive: true });
});

async function make(prebuilt: Prebuilt): Promise<string> {
  const path = await fromStore(
    {
      kind: 'thing',
      title: 'make a thing',
      key: prebuilt,
      prebuilt,
      make: async ({ output }) => {
        await mkdir(join(output, 'sub'));
        await writeFile(join(output, 'sub/file'), 'made');
      },
    },
    { log: silentLog },
  );
  return readFile(join(path, 'sub/file'), 'utf8');
}

test('what a release carries is not made', async () => expect(await make(wanted)).toBe('carried'));

test('other inputs are', async () => {
  expect(await make({ name: 'thing', key: { source: 2 } })).toBe('made');
  expect(await make({ name: 'another', key: { source: 1 } })).toBe('made');
});

test('without the package, everything is', async () => {
  process.env.UKL_PREBUILT = join(work, 'nothing');
  expect(await make(wanted)).toBe('made');
});

test('a file that was changed is refused', async () => {
  await writeFile(join(work, 'package/entries/thing/sub/file'), 'changed');
  await expect(make(wanted)).rejects.toMatchObject({ code: 'UKL_SOURCE' });
});
