// SPDX-License-Identifier: MIT
/**
 * The programs of test/guest, in ring 0, on other processors and with what a
 * kernel can be told to do without: each of these gives the entry code, the
 * page tables or the context switch another shape. A guest runs many of them
 * in a row, as most of the time would go into booting.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/lib/log.js';
import { batchesOf, batchImage, compilePrograms, expectedOutputs, guestPath, programs, runnerIn } from './batches.js';
import { type GuestOptions, runGuest } from './harness.js';

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
  await compilePrograms(bin, programs, { log: silentLog });
});
afterAll(() => rm(bin, { recursive: true, force: true }));

describe.each(machines)('$name', ({ cpu, kernelArgs, ring, without = [] }) => {
  const batches = batchesOf(programs.filter((name) => !without.includes(name)));
  test.concurrent.each(batches.map((batch) => ({ batch, first: batch[0], last: batch.at(-1) })))('$first to $last', { timeout: 400_000 }, async ({ batch }) => {
    const result = await runGuest(runnerIn(bin), {
      ...batchImage(bin, batch),
      args: batch.map(guestPath),
      env: { UKL_RING: String(ring) },
      cpus: 2,
      accel: 'tcg',
      timeout: 360,
      ...(cpu === undefined ? {} : { cpu }),
      ...(kernelArgs === undefined ? {} : { kernelArgs }),
    });
    expect(result.stdout, `${result.stderr}\n${result.kernelLog.join('\n')}`).toBe(await expectedOutputs(batch));
    expect(result.end).toEqual({ kind: 'exit', status: 0 });
  });
});
