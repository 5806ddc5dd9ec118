// SPDX-License-Identifier: MIT
/**
 * One program per promise, in test/guest: the same binary at ring 0, at ring 3
 * on the same kernel, and on the host, with the same expected output. Each
 * asserts its own privilege level (UKL_RING). Linked with our C library, they
 * are the test of its system calls, which are calls in ring 0: signals,
 * restarts, cancellation, seccomp, ptrace and all.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { getCompiler } from '../../src/libc/compiler.js';
import { type GuestOptions, host, runGuest } from './harness.js';

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
  const libc = await getCompiler('complete', { log: silentLog });
  const compile = async (build: keyof typeof builds, name: string, ...extra: string[]): Promise<string> => {
    const { compiler, options } = builds[build];
    const out = join(bin, build, name);
    await promisify(execFile)(compiler === 'gcc' ? 'gcc' : join(libc.bin, compiler), [
      '-O2',
      '-Wall',
      '-Wextra',
      ...options,
      ...extra,
      '-pthread',
      '-o',
      out,
      join(sources, `${name}.c`),
      '-lm',
      '-lrt',
    ]);
    return out;
  };
  for (const build of ['host', 'linked', 'dynamic'] as const) {
    await mkdir(join(bin, build));
    for (const name of names) await compile(build, name);
  }
  await compile('host', 'target');
  await compile('dynamic', 'server');
  // The kernel seals an image's ELF files: this one is to be none, until the attacker has made it one.
  const intruder = await readFile(await compile('dynamic', 'intruder', '-shared', '-fPIC'));
  intruder[0] = 0;
  await writeFile(join(bin, 'intruder'), intruder);
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

/** How an attacker is started, in ring 3. Each gets the path of a program that the image names for ring 0. */
const attacks = {
  /** By a program in ring 0, as its child. */
  child: (attacker: string) => ({
    program: join(bin, 'host/target'),
    options: { args: ['--exec', '/attacker'], files: [`${attacker}:/attacker`], env: { UKL_TARGET: join(bin, 'host/target') } },
  }),
  /** By init: the attacker has what opens ring 0, and gives it up in ways of its own. */
  first: (attacker: string) => ({
    program: attacker,
    options: { ring: 3, ring0: [join(bin, 'host/target')], files: [join(bin, 'host/target')], env: { UKL_TARGET: join(bin, 'host/target') } },
  }),
  /** By a server in ring 0, with libraries, that does what its child wants. */
  client: (attacker: string) => ({
    program: join(bin, 'dynamic/server'),
    options: { args: ['/attacker'], files: [`${attacker}:/attacker`, `${join(bin, 'intruder')}:/intruder`], env: { UKL_TARGET: join(bin, 'dynamic/server') } },
  }),
} as const satisfies Record<string, (attacker: string) => { readonly program: string; readonly options: GuestOptions }>;

const startedAs = (name: string): keyof typeof attacks => {
  if (name === 'sec-exec' || name === 'sec-ptrace') return 'first';
  return name === 'sec-files' ? 'client' : 'child';
};

describe('a ring 3 process gains nothing', () => {
  test.concurrent.each(names.filter((name) => name.startsWith('sec-')))('%s', async (name) => {
    const { program, options } = attacks[startedAs(name)](join(bin, 'host', name));
    const result = await runGuest(program, { ...options, cpus: 2, accel: 'tcg', env: { ...options.env, UKL_RING: '3' } });
    expect(result.stdout, `${result.stderr}\n${result.kernelLog.join('\n')}`).toBe(await read(name));
    expect(result.end).toEqual({ kind: 'exit', status: 0 });
  });
});
