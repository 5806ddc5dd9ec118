// SPDX-License-Identifier: MIT
/** What a distribution's kernel protects itself with stays on while a program runs in ring 0. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { runGuest } from './harness.js';

const probe = join(projectRoot, 'test/fixtures/protections.c');

async function ask(kernelArgs: readonly string[] = []): Promise<Record<string, string>> {
  const result = await runGuest(probe, { ring: 0, container: 'bzImage', accel: 'tcg', kernelArgs });
  expect(result.end, result.stdout).toEqual({ kind: 'exit', status: 0 });
  return Object.fromEntries(
    result.stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' ') as [string, string]),
  );
}

test('protections: SMEP and SMAP are on, and the kernel is elsewhere at each boot (KASLR)', async () => {
  const boots = [await ask(), await ask(), await ask(), await ask()];
  for (const boot of boots) expect(boot).toMatchObject({ ring: '0', smep: '1', smap: '1' });
  // 512 slots of 2 MiB: four boots at one address would be a chance of one in a hundred million.
  expect(new Set(boots.map((boot) => boot.text)).size).toBeGreaterThan(1);
});

test('protections: a program runs in ring 0 with page-table isolation as well', async () => {
  expect(await ask(['pti=on'])).toMatchObject({ ring: '0', smep: '1', smap: '1', forked: '1' });
});
