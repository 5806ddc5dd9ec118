// SPDX-License-Identifier: MIT
import type { JobResult } from '../batch/batch.js';

/** A verdict: TAP's, that of the x86 tests ("[OK]"), or that of the timers'. */
const VERDICT = /^[#\s]*(not )?ok\b|\[\s*(OK|FAIL(ED)?|SKIP|WARN|PASS|UNSUPPORTED|ERROR)\s*\]|^Bail out!|^1\.\.\d/;

/** Without what is another value in each run: addresses, process numbers, times. The number of a test stays. */
function withoutNumbers(line: string): string {
  const [, number = '', rest = line] = /^([#\s]*(?:not )?ok \d+|1\.\.\d+)(.*)$/.exec(line) ?? [];
  return `${number}${rest.replaceAll(/0x[0-9a-f]+/gi, '#').replaceAll(/-?\d+/g, '#')}`.replaceAll(/\s+/g, ' ').trim();
}

/** How a test ended, its verdicts, and what the kernel complained about: all that is compared. */
export function verdictsOf({ end, lines, complaints }: JobResult): string[] {
  return [
    ...lines.filter((line) => VERDICT.test(line)).map(withoutNumbers),
    `end: ${end.startsWith('guest') ? withoutNumbers(end) : end}`,
    ...complaints.map((line) => `kernel: ${withoutNumbers(line)}`),
  ];
}

/** "12 ok, 1 not ok, exit 1" */
export function summary(result: JobResult): string {
  const verdicts = verdictsOf(result).filter((line) => !/^(end|kernel): |^#|^1\.\./.test(line));
  const skipped = verdicts.filter((line) => /# SKIP|\[\s*(SKIP|UNSUPPORTED)\s*\]/i.test(line));
  const bad = verdicts.filter((line) => !skipped.includes(line) && /^not ok|\[\s*(FAIL(ED)?|ERROR)\s*\]|^Bail/.test(line));
  const good = verdicts.length - skipped.length - bad.length;
  const counts: [number, string][] = [
    [good, 'ok'],
    [bad.length, 'not ok'],
    [skipped.length, 'skipped'],
  ];
  return [...counts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`), result.end].join(', ');
}
