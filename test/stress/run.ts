// SPDX-License-Identifier: MIT
/**
 * Debian's stress-ng, unmodified, in ring 0 of our kernel and in ring 3 of the
 * unpatched one: each stressor of some classes for a second, with its own
 * checks. One that brings the guest down is recorded, and a new guest goes on.
 *
 *     npx tsx test/stress/run.ts [--note] [--class cpu,os] [STRESSOR]...
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { allRequirements } from '../../src/doctor/doctor.js';
import { ensurePackages } from '../../src/host/requirements.js';
import { UklError } from '../../src/lib/errors.js';
import { exec } from '../../src/lib/exec.js';
import { createLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import type { Batch, JobResult } from '../batch/batch.js';
import { exitWith } from '../batch/command.js';
import { writeNote } from '../batch/note.js';
import { compareBatch, countRows, printRow, rememberRows, reportRows, type Suite, unexplainedRows } from '../batch/report.js';
import { EXPLANATIONS } from './differences.js';

const PROGRAM = '/usr/bin/stress-ng';
const PACKAGES = [{ package: 'stress-ng', why: 'the stressors', file: PROGRAM }];
const CLASSES = ['cpu', 'memory', 'os', 'scheduler', 'interrupt'];

/** For each stressor; some finish what they have begun, which emulation makes long. */
const STRESS_SECONDS = 1;
const LIMIT_SECONDS = 60;

/** What is made for machines with many gigabytes, for one that has one. */
const SMALL = [
  'vm',
  'mmap',
  'memfd',
  'mremap',
  'msync',
  'shm',
  'shm-sysv',
  'malloc',
  'memrate',
  'pagemove',
  'readahead',
  'hdd',
  'iomix',
  'fallocate',
  'sync-file',
  'fiemap',
].flatMap((name) => [`--${name}-bytes`, '16M']);

/** A failed check, a stressor that its processor, kernel or user cannot run, an instance that a signal ended. */
const VERDICT = /stress-ng: (fail|error):|skipp|not supported|not implemented|unsupported|terminated on signal|passed: [1-9]|failed: [1-9]|untrustworthy/i;

/** Without who says it, and numbers that are others each time. */
function plain(line: string): string {
  return line
    .replace(/^.*?stress-ng: (\w+): +\[\d+\] /, '$1: ')
    .replaceAll(/0x[0-9a-f]+/gi, '#')
    .replaceAll(/-?\d+(\.\d+)?/g, '#')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

function verdicts({ end, lines, complaints }: JobResult): string[] {
  const said = [...new Set(lines.filter((line) => VERDICT.test(line)).map(plain))];
  return [...said, `end: ${end.startsWith('guest') ? plain(end) : end}`, ...new Set(complaints.map((line) => `kernel: ${plain(line)}`))];
}

/** stress-ng's own exit statuses. */
const STATUSES: Readonly<Record<string, string>> = {
  'exit 0': 'passed',
  'exit 2': 'failed',
  'exit 3': 'no resources',
  'exit 4': 'not implemented',
  'exit 5': 'killed by a signal',
  'exit 7': 'metrics untrustworthy',
};

function summary({ end, lines }: JobResult): string {
  const failures = new Set(lines.filter((line) => /stress-ng: fail:/.test(line)).map(plain));
  const skipped = lines.some((line) => /skipp/.test(line));
  return `${end === 'exit 0' && skipped ? 'skipped' : (STATUSES[end] ?? end)}${failures.size > 0 ? `, ${failures.size} complaints` : ''}`;
}

const SUITE: Suite = { verdicts, summary, explanations: EXPLANATIONS, outputs: join(projectRoot, '.ukl/stress') };

/** The stressors of a class, as the program itself lists them. */
async function listClass(name: string): Promise<string[]> {
  const words = /stressors: (.*)/
    .exec(await exec(PROGRAM, ['--class', `${name}?`]))?.[1]
    ?.trim()
    .split(/\s+/);
  if (!words) throw new UklError('UKL_BUG', `stress-ng lists no class ${name}`);
  return words;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { note: { type: 'boolean', default: false }, class: { type: 'string', default: CLASSES.join(',') } },
  });
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(name, () => controller.abort(new UklError('UKL_COMMAND', `interrupted by ${name}`)));
  const context = { log: createLog(), signal: controller.signal };
  await ensurePackages(context.log, [...allRequirements(), ...PACKAGES], context.signal);
  const stressors = positionals.length > 0 ? positionals : [...new Set((await Promise.all(values.class.split(',').map(listClass))).flat())].sort();
  if (positionals.length === 0) await rm(SUITE.outputs, { recursive: true, force: true });
  const batch: Batch = {
    name: `${stressors.length} stressors`,
    files: [PROGRAM],
    programs: [PROGRAM],
    jobs: stressors.map((name) => ({
      name,
      // Pathological: what may bring a machine down costs a guest, and nothing else.
      command: [
        PROGRAM,
        `--${name}`,
        '1',
        '--timeout',
        String(STRESS_SECONDS),
        '--verify',
        '--no-rand-seed',
        '--pathological',
        '--temp-path',
        '/tmp',
        ...SMALL,
      ],
      directory: '/tmp',
      seconds: LIMIT_SECONDS,
    })),
    memory: '1G',
    cpus: 2,
  };
  const rows = await compareBatch(batch, SUITE, context);
  rows.forEach(printRow);
  if (!rows.some(({ stock }) => stock === 'passed'))
    throw new UklError('UKL_BUG', 'no stressor passes on the stock kernel: is an option not taken?', { hint: `look into ${SUITE.outputs}` });
  process.stdout.write(`${countRows(rows)}; their output is in ${SUITE.outputs}\n`);
  const all = await rememberRows(SUITE, rows);
  if (values.note) await writeNote('stress.md', reportRows(all, [], 'passed'));
  return unexplainedRows(rows).length === 0 ? 0 : 1;
}

await exitWith(main);
