// SPDX-License-Identifier: MIT
/**
 * The test of test/boot/nmi.test.ts with a kernel that patches itself otherwise:
 * each way to boot has other instructions in the entry code.
 *
 *     npx tsx test/nmi/run.ts [--machine-check] [KERNEL-ARGUMENT]...
 *     npx tsx test/nmi/run.ts pti=on
 */
import { parseArgs } from 'node:util';
import { formatReport, MACHINE_CHECK, MACHINE_CHECK_CPU, NMI, strikeEntryCode } from './entry.js';

try {
  const { values, positionals } = parseArgs({ options: { 'machine-check': { type: 'boolean', default: false } }, allowPositionals: true });
  const check = values['machine-check'];
  const started = performance.now();
  console.log(
    formatReport(await strikeEntryCode({ kernelArgs: positionals, timeout: 1200, ...(check ? { cpu: MACHINE_CHECK_CPU } : {}) }, check ? MACHINE_CHECK : NMI)),
  );
  console.log(`${Math.round((performance.now() - started) / 1000)} s`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
