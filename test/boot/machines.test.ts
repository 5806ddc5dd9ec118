// SPDX-License-Identifier: MIT
/**
 * The programs of test/guest, in ring 0, on other processors and with what a
 * kernel can be told to do without: each of these gives the entry code, the
 * page tables or the context switch another shape. A guest runs many of them
 * in a row, as most of the time would go into booting.
 */
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exec } from '../../src/lib/exec.js';
import { silentLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { getCompiler } from '../../src/libc/compiler.js';
import { type GuestOptions, runGuest } from './harness.js';

const sources = join(projectRoot, 'test/guest');
const names = (await readdir(sources)).flatMap((name) => (name.endsWith('.out') && !name.startsWith('sec-') ? [basename(name, '.out')] : []));

/** The kernel takes 16 names of ring 0 programs, and the runner has one. */
const BATCH = 15;
function batches(without: readonly string[]): string[][] {
  const left = names.filter((name) => !without.includes(name));
  return Array.from({ length: Math.ceil(left.length / BATCH) }, (_, index) => left.slice(index * BATCH, (index + 1) * BATCH));
}

interface Machine extends Pick<GuestOptions, 'cpu' | 'kernelArgs'> {
  readonly name: string;
  /** Where the kernel runs what is named for ring 0. */
  readonly ring: 0 | 3;
  /** Programs that cannot pass, with the reason at their place. */
  readonly without?: readonly string[];
}

const machines: readonly Machine[] = [
  // Ring 0 needs it: the kernel says so, and the programs are none the worse.
  { name: 'without FSGSBASE', kernelArgs: ['nofsgsbase'], ring: 3 },
  { name: 'page-table isolation', kernelArgs: ['pti=on'], ring: 0 },
  { name: 'no page-table isolation', kernelArgs: ['pti=off'], ring: 0 },
  // What POPF does to IF and AC no page fault undoes there (Documentation/arch/x86/ukl.rst), and these read the flags.
  { name: 'without SMAP', kernelArgs: ['clearcpuid=smap'], ring: 0, without: ['popf', 'syscalls-all-regs'] },
  // Without it, -cpu max has five levels of page tables.
  { name: 'four levels of page tables', cpu: 'max,la57=off', ring: 0 },
  { name: 'Skylake-Server', cpu: 'Skylake-Server', ring: 0 },
  { name: 'Cascadelake-Server', cpu: 'Cascadelake-Server', ring: 0 },
  { name: 'EPYC', cpu: 'EPYC', ring: 0 },
];

let bin: string;
beforeAll(async () => {
  bin = await mkdtemp(join(tmpdir(), 'ukl-machines-'));
  await mkdir(join(bin, 'guest'));
  const gcc = join((await getCompiler('complete', { log: silentLog })).bin, 'ukl-gcc');
  const compile = (out: string, source: string): Promise<string> => exec(gcc, ['-O2', '-static', '-pthread', '-o', join(bin, out), source, '-lm', '-lrt']);
  for (const name of names) await compile(`guest/${name}`, join(sources, `${name}.c`));
  await compile('runner', join(projectRoot, 'test/fixtures/runner.c'));
});
afterAll(() => rm(bin, { recursive: true, force: true }));

/** What a batch prints if all is well. */
async function expected(batch: readonly string[]): Promise<string> {
  const outputs = await Promise.all(batch.map(async (name) => `== ${name}\n${await readFile(join(sources, `${name}.out`), 'utf8')}== exit 0\n`));
  return outputs.join('');
}

describe.each(machines)('$name', ({ cpu, kernelArgs, ring, without = [] }) => {
  test.concurrent.each(batches(without).map((batch) => ({ batch, first: batch[0], last: batch.at(-1) })))(
    '$first to $last',
    { timeout: 400_000 },
    async ({ batch }) => {
      const paths = batch.map((name) => `/guest/${name}`);
      const result = await runGuest(join(bin, 'runner'), {
        ring: 0,
        ring0: paths,
        files: batch.map((name) => `${join(bin, 'guest', name)}:/guest/${name}`),
        args: paths,
        env: { UKL_RING: String(ring) },
        cpus: 2,
        accel: 'tcg',
        timeout: 360,
        ...(cpu === undefined ? {} : { cpu }),
        ...(kernelArgs === undefined ? {} : { kernelArgs }),
      });
      expect(result.stdout, `${result.stderr}\n${result.kernelLog.join('\n')}`).toBe(await expected(batch));
      expect(result.end).toEqual({ kind: 'exit', status: 0 });
    },
  );
});
