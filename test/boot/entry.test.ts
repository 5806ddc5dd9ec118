// SPDX-License-Identifier: MIT
/** What the kernel's entry and exit code promises that a program alone cannot see. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { getKernel } from '../../src/kernels/kernel.js';
import { kernelSpec } from '../../src/kernels/lines.js';
import { exec } from '../../src/lib/exec.js';
import { silentLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { runGuest, startGuest } from './harness.js';

const fixture = (name: string): string => join(projectRoot, 'test/fixtures', name);

/** Where a processor keeps the top of its task's stack, from the GS base: the entry's first use of it tells. */
async function topOfStack(): Promise<string> {
  const { vmlinux } = await getKernel(kernelSpec('ukl'), { log: silentLog });
  const code = await exec('objdump', ['-d', '--no-show-raw-insn', '--disassemble=entry_SYSCALL_64', vmlinux]);
  // Next to RIP, or as a number.
  const [, address, absolute] = /^.*\bmov +%gs:(?:.*\(%rip\),%rsp +# (?:0x)?([0-9a-f]+)|0x([0-9a-f]+),%rsp)/m.exec(code.replaceAll(/^.*sp2.*$/gm, '')) ?? [];
  const offset = address ?? absolute;
  if (offset === undefined) throw new Error(`entry_SYSCALL_64 does not load RSP:\n${code}`);
  return `0x${offset}`;
}

/** A thread flag that does not ask for work at each return. */
const STICKY = /^(ports|time stamps|store bypass|indirect branches): (?:([\d.]+) ([\d.]+)|not here, errno \d+)$/;

test('a thread flag that stays set costs a call nothing', async () => {
  const { stdout, end, kernelLog } = await runGuest(fixture('sticky.c'), { ring: 0, env: { UKL_RING: '0' }, icount: true });
  expect(end, `${stdout}\n${kernelLog.join('\n')}`).toEqual({ kind: 'exit', status: 0 });
  console.log(`instructions of getppid(), before and after:\n${stdout}`);
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => STICKY.exec(line));
  expect(rows).toHaveLength(4);
  for (const row of rows) {
    expect(row, stdout).not.toBeNull();
    // An emulated processor has no store bypass to disable, and no predictor; ports are for who has CAP_SYS_RAWIO.
    if (row?.[2] !== undefined) expect(Number(row[3]), row[1]).toBeLessThan(Number(row[2]) + 5);
  }
  expect(rows[1]?.[2], stdout).toBeDefined();
});

test('a kernel stack that overflows is reported with the instruction that did it, and its registers', async () => {
  const guest = await startGuest(fixture('overflow.c'), { ring: 0, accel: 'tcg', args: [await topOfStack()] });
  const culprit = /^0*([0-9a-f]+) \w culprit$/m.exec(await exec('nm', [guest.plan.image.host?.program ?? '']))?.[1];
  const result = await guest.result;
  const log = await readFile(result.log, 'utf8');
  expect(result.end, `${guest.stdout.text()}\n${log}`).toMatchObject({ kind: 'panic' });
  expect(log).toMatch(/stack guard page was hit/);
  expect(log).toMatch(new RegExp(`RIP: 0010:0x0*${culprit}\\b`));
  expect(log).toMatch(/R12: 1234567812345678/);
});

/** The words of struct pt_regs, and those below in a set of four. */
const WATCHED = 24;

test('watchpoints on the words that the entry code stores change nothing', { timeout: 400_000 }, async () => {
  const { stdout, end, kernelLog } = await runGuest(fixture('watch.c'), { ring: 0, accel: 'tcg', args: [await topOfStack()], timeout: 360 });
  expect(end, `${stdout}\n${kernelLog.join('\n')}`).toEqual({ kind: 'exit', status: 0 });
  const hits = [...stdout.matchAll(/^(\d+) bytes below the top: (\d+)$/gm)].map(([, offset, count]) => ({ offset: Number(offset), count: Number(count) }));
  console.log(stdout);
  expect(hits).toHaveLength(WATCHED);
  // RSP, RIP, ORIG_RAX and RDI (asm/ptrace.h) are stored by each call, of which 8000 are made for each set of four.
  for (const offset of [16, 40, 48, 56]) expect(hits.find((one) => one.offset === offset)?.count, String(offset)).toBeGreaterThan(8000);
  expect(hits.every(({ count }) => count > 0)).toBe(true);
});
