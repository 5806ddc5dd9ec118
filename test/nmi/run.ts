// SPDX-License-Identifier: MIT
/**
 * The test of test/boot/nmi.test.ts with a kernel that patches itself otherwise:
 * each way to boot has other instructions in the entry code.
 *
 *     npx tsx test/nmi/run.ts [KERNEL-ARGUMENT]...
 *     npx tsx test/nmi/run.ts pti=on
 */
import { formatReport, strikeEntryCode } from './entry.js';

try {
  const started = performance.now();
  console.log(formatReport(await strikeEntryCode({ kernelArgs: process.argv.slice(2), timeoutSeconds: 1200 })));
  console.log(`${Math.round((performance.now() - started) / 1000)} s`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
