// SPDX-License-Identifier: MIT
/**
 * The baseline, printed: counted instructions, which are the same on each
 * machine, and sizes. The limits have slack; they are there to catch a slip.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { getKernel } from '../../src/kernels/kernel.js';
import { kernelSpec } from '../../src/kernels/lines.js';
import { silentLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { runGuest } from './harness.js';

test.each([
  { name: 'ring 0', kernel: 'ukl', ring: 0 },
  { name: 'ring 3', kernel: 'ukl', ring: 3 },
  { name: 'stock kernel', kernel: 'stock', ring: 3 },
] as const)('instructions: $name', async ({ name, kernel, ring }) => {
  const { stdout, end } = await runGuest(join(projectRoot, 'examples/count'), { kernel, ring, icount: true });
  expect(end).toEqual({ kind: 'exit', status: 0 });
  console.log(`${name}:\n${stdout}`);
  expect(stdout).toMatch(new RegExp(`^ring ${ring}$`, 'm'));
  expect(Number(/main\(\): ([\d.]+) million/.exec(stdout)?.[1])).toBeLessThan(320);
  expect(Number(/null system call: (\d+)/.exec(stdout)?.[1])).toBeLessThan(250);
  expect(Number(/getppid\(\) of the C library: (\d+)/.exec(stdout)?.[1])).toBeLessThan(ring === 0 ? 90 : 260);
});

test('size of the kernel image', async () => {
  const { size } = await stat((await getKernel(kernelSpec('ukl'), { log: silentLog })).bzImage);
  console.log(`bzImage: ${size} bytes`);
  expect(size).toBeLessThan(7_500_000);
});
