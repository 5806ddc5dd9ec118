// SPDX-License-Identifier: MIT
/**
 * One program per promise, in test/guest: the same binary at ring 0, at ring 3
 * on the same kernel, and on the host, with the same expected output. Each
 * asserts its own privilege level (UKL_RING).
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { host, runGuest } from './harness.js';

const sources = join(projectRoot, 'test/guest');
const names = (await readdir(sources)).filter((name) => name.endsWith('.out')).map((name) => basename(name, '.out'));
let bin: string;

beforeAll(async () => {
  bin = await mkdtemp(join(tmpdir(), 'ukl-guests-'));
  for (const name of [...names, 'target']) {
    await promisify(execFile)('gcc', ['-O2', '-Wall', '-Wextra', '-static', '-pthread', '-o', join(bin, name), join(sources, `${name}.c`), '-lm', '-lrt']);
  }
});
afterAll(() => rm(bin, { recursive: true, force: true }));

const read = (name: string): Promise<string> => readFile(join(sources, `${name}.out`), 'utf8');
const promises = names.filter((name) => !name.startsWith('sec-'));

describe.each([
  { ring: 0, cpus: 1 },
  { ring: 0, cpus: 2 },
  { ring: 3, cpus: 2 },
] as const)('ring $ring, $cpus processors', ({ ring, cpus }) => {
  test.concurrent.each(promises)('%s', async (name) => {
    const result = await runGuest(join(bin, name), { ring, cpus, accel: 'tcg', env: { UKL_RING: String(ring) } });
    expect(result.stdout, `${result.stderr}\n${result.kernelLog.join('\n')}`).toBe(await read(name));
    expect(result.end).toEqual({ kind: 'exit', status: 0 });
  });
});

test.concurrent.each(promises)('host: %s', async (name) => {
  const result = await host(join(bin, name), [], { UKL_RING: '3', UKL_HOST: '1' });
  expect(result.stdout, result.stderr).toBe(await read(name));
  expect(result.code).toBe(0);
});

describe('a ring 3 process gains nothing', () => {
  test.concurrent.each(names.filter((name) => name.startsWith('sec-')))('%s', async (name) => {
    // The image's ring 0 program is the target; it starts the attacker in ring 3.
    const result = await runGuest(join(bin, 'target'), {
      args: ['--exec', '/attacker'],
      files: [`${join(bin, name)}:/attacker`],
      cpus: 2,
      accel: 'tcg',
      env: { UKL_RING: '3', UKL_TARGET: join(bin, 'target') },
    });
    expect(result.stdout, `${result.stderr}\n${result.kernelLog.join('\n')}`).toBe(await read(name));
    expect(result.end).toEqual({ kind: 'exit', status: 0 });
  });
});
