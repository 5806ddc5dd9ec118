// SPDX-License-Identifier: MIT
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { BenchResult } from '../../src/bench/bench.js';
import { changes, lost, readResult, regressions } from '../../src/bench/compare.js';

function result(linked: readonly number[], requests: readonly number[]): BenchResult {
  return {
    format: 2,
    made: '2026-01-02T03:04:05.000Z',
    rounds: 3,
    complete: true,
    command: 'ukl bench',
    machine: { cpu: 'one', cores: 2, qemu: '7.2', accel: 'tcg', kernel: '6.12', commit: 'abc' },
    variants: [{ name: 'linked', title: 'ring 0' }],
    suites: [
      {
        name: 'syscalls',
        title: 'Services',
        variants: ['linked'],
        failures: [],
        metrics: [
          { name: 'null', title: 'getppid()', unit: 'instructions', better: 'less', clock: 'instructions', values: { linked } },
          { name: 'requests', title: 'requests', unit: 'a second', better: 'more', clock: 'wall', values: { linked: requests } },
        ],
      },
    ],
  };
}

const before = result([97, 97, 98], [1000, 1010, 990]);

test('more instructions, and fewer requests, are regressions', () => {
  expect(regressions(changes(before, result([99, 99, 100], [900, 910, 890]))).map(({ metric }) => metric)).toEqual(['getppid()', 'requests']);
});

test('what became better, what is within the noise and what is next to nothing are none', () => {
  expect(regressions(changes(before, result([90, 90, 91], [1000, 980, 1011])))).toEqual([]);
  expect(regressions(changes(result([10000, 10000, 10000], []), result([10001, 10001, 10001], [])))).toEqual([]);
});

test('what only one of them has is not compared, and is told if it is lost', () => {
  const after = result([97, 97, 97], []);
  expect(changes(before, after).map(({ metric }) => metric)).toEqual(['getppid()']);
  expect(lost(before, after)).toEqual(['syscalls: requests, linked']);
  expect(lost(after, before)).toEqual([]);
  expect(lost(before, { ...after, suites: [] })).toEqual([]);
});

test('a file that is no result is told', async () => {
  const work = await mkdtemp(join(tmpdir(), 'ukl-compare-'));
  try {
    const file = join(work, 'x.json');
    await expect(readResult(file)).rejects.toMatchObject({ code: 'UKL_USAGE', message: `could not read ${file}` });
    await writeFile(file, '{"format": 1}');
    await expect(readResult(file)).rejects.toMatchObject({ message: `${file} is not a result of ukl bench` });
    await writeFile(file, JSON.stringify(before));
    expect(await readResult(file)).toEqual(before);
  } finally {
    await rm(work, { recursive: true });
  }
});
