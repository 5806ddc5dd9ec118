// SPDX-License-Identifier: MIT
/**
 * One program per promise, in test/guest: the same binary at ring 0, at ring 3
 * on the same kernel, and on the host, with the same expected output. Each
 * asserts its own privilege level (UKL_RING). Linked with our C library, they
 * are the test of its system calls, which are calls in ring 0: signals,
 * restarts, cancellation, seccomp, ptrace and all.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { silentLog } from '../../src/lib/log.js';
import { getCompiler } from '../../src/toolchain/compiler.js';
import { host, runGuest } from './harness.js';

const sources = join(projectRoot, 'test/guest');
const names = (await readdir(sources)).filter((name) => name.endsWith('.out')).map((name) => basename(name, '.out'));
let bin: string;

/** How the programs are linked: as everywhere, or with our C library. */
const builds = {
  host: { compiler: 'gcc', options: ['-static'] },
  linked: { compiler: 'ukl-gcc', options: ['-static'] },
  dynamic: { compiler: 'ukl-gcc', options: [] },
} as const;

beforeAll(async () => {
  bin = await mkdtemp(join(tmpdir(), 'ukl-guests-'));
  const libc = await getCompiler({ log: silentLog });
  for (const [build, { compiler, options }] of Object.entries(builds)) {
    await mkdir(join(bin, build));
    for (const name of [...names, 'target']) {
      await promisify(execFile)(compiler === 'gcc' ? 'gcc' : join(libc.bin, compiler), ['-O2', '-Wall', '-Wextra', ...options, '-pthread', '-o', join(bin, build, name), join(sources, `${name}.c`), '-lm', '-lrt']);
    }
  }
});
afterAll(() => rm(bin, { recursive: true, force: true }));

const read = (name: string): Promise<string> => readFile(join(sources, `${name}.out`), 'utf8');
const promises = names.filter((name) => !name.startsWith('sec-'));

describe.each([
  { build: 'host', ring: 0, cpus: 1 },
  { build: 'host', ring: 0, cpus: 2 },
  { build: 'host', ring: 3, cpus: 2 },
  { build: 'linked', ring: 0, cpus: 1 },
  { build: 'linked', ring: 0, cpus: 2 },
  { build: 'dynamic', ring: 0, cpus: 2 },
] as const)('$build, ring $ring, $cpus processors', ({ build, ring, cpus }) => {
  test.concurrent.each(promises)('%s', async (name) => {
    const result = await runGuest(join(bin, build, name), { ring, cpus, accel: 'tcg', env: { UKL_RING: String(ring) } });
    expect(result.stdout, `${result.stderr}\n${result.kernelLog.join('\n')}`).toBe(await read(name));
    expect(result.end).toEqual({ kind: 'exit', status: 0 });
  });
});

describe.each(['host', 'linked'] as const)('%s, on the host', (build) => {
  test.concurrent.each(promises)('%s', async (name) => {
    const result = await host(join(bin, build, name), [], { UKL_RING: '3', UKL_HOST: '1' });
    expect(result.stdout, result.stderr).toBe(await read(name));
    expect(result.code).toBe(0);
  });
});

describe('a ring 3 process gains nothing', () => {
  test.concurrent.each(names.filter((name) => name.startsWith('sec-')))('%s', async (name) => {
    // The image's ring 0 program is the target; it starts the attacker in ring 3.
    const result = await runGuest(join(bin, 'host/target'), {
      args: ['--exec', '/attacker'],
      files: [`${join(bin, 'host', name)}:/attacker`],
      cpus: 2,
      accel: 'tcg',
      env: { UKL_RING: '3', UKL_TARGET: join(bin, 'host/target') },
    });
    expect(result.stdout, `${result.stderr}\n${result.kernelLog.join('\n')}`).toBe(await read(name));
    expect(result.end).toEqual({ kind: 'exit', status: 0 });
  });
});
