// SPDX-License-Identifier: MIT
/**
 * NMIs and machine checks in the entry code. All of it is tried each time, which takes some twenty
 * seconds of one processor: an entry that survives at all places but one is
 * what this is there to find. What other boot options make of the code is left
 * to `npx tsx test/nmi/run.ts pti=on`.
 */
import { expect, test } from 'vitest';
import { ENTRY_CODE, formatReport, MACHINE_CHECK, MACHINE_CHECK_CPU, strikeEntryCode } from '../nmi/entry.js';

/** About 650 are; the load is to go on reaching what it did. */
const REACHED = 600;

test('an NMI that takes a page fault is survived at each instruction of the entry code', { timeout: 660_000 }, async () => {
  const report = await strikeEntryCode({ timeout: 600 });
  console.log(formatReport(report));
  expect(report.struck.length).toBeGreaterThan(REACHED);
  // None of the code is left out as a whole.
  expect([...new Set(report.struck.map(({ symbol }) => symbol))]).toEqual(ENTRY_CODE);
  // Where the kernel is between two address spaces, the handler may not look at a program's memory.
  expect(report.faultless.length).toBeLessThan(report.struck.length / 10);
});

test('a machine check is survived at each instruction of the entry code', { timeout: 660_000 }, async () => {
  const report = await strikeEntryCode({ cpu: MACHINE_CHECK_CPU, timeout: 600 }, MACHINE_CHECK);
  console.log(formatReport(report));
  expect(report.struck.length).toBeGreaterThan(REACHED);
});
