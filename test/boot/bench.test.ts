// SPDX-License-Identifier: MIT
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BenchResult } from '../../src/bench/bench.js';
import { host, ukl } from './harness.js';

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-bench-test-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

test('ukl bench syscalls measures every operation on each side, and says what it ran on', async () => {
  const file = join(work, 'out.json');
  const { code, stdout, stderr } = await host(ukl, ['bench', 'syscalls', '--rounds', '1', '--json', file, '--report', join(work, 'bench.html')], {
    NO_COLOR: '1',
  });
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/getppid\(\) \(instructions, less is better\)\n +stock kernel +[\d,.]+\n/);
  const result = JSON.parse(await readFile(file, 'utf8')) as BenchResult;
  expect(result.complete).toBe(true);
  expect(result.machine.kernel).toMatch(/^6\.12\./);
  const [suite] = result.suites;
  expect(suite?.failures).toEqual([]);
  for (const metric of suite?.metrics ?? []) {
    for (const name of suite?.variants ?? []) expect(metric.values[name], `${metric.name}, ${name}`).toEqual([expect.any(Number)]);
  }
  const calls = suite?.metrics.find(({ name }) => name === 'null')?.values;
  expect(calls?.linked?.[0]).toBeLessThan(0.6 * (calls?.stock?.[0] ?? 0));
});

test('a suite that does not exist is named', async () => {
  const { code, stderr } = await host(ukl, ['bench', 'sycalls'], { NO_COLOR: '1' });
  expect(code).toBe(2);
  expect(stderr).toMatch(/no suite is called sycalls/);
});
