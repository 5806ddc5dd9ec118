// SPDX-License-Identifier: MIT
/**
 * kselftest's programs, unmodified, in ring 0 of our kernel and in ring 3 of the
 * unpatched one, in two guests of the same VMM. Compares their verdicts line by
 * line; differences.ts says which ones are as they should be.
 *
 *     npx tsx test/kselftest/run.ts [--note] [SET | SET/TEST]...
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { allRequirements } from '../../src/doctor/doctor.js';
import { ensurePackages } from '../../src/host/requirements.js';
import { UklError } from '../../src/lib/errors.js';
import { createLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import type { Batch, Job } from '../batch/batch.js';
import { exitWith } from '../batch/command.js';
import { writeNote } from '../batch/note.js';
import { compareBatch, countRows, printRow, type Row, rememberRows, reportRows, type Suite, unexplainedRows } from '../batch/report.js';
import { type BuiltSet, buildSet } from './build.js';
import { EXPLANATIONS } from './differences.js';
import { summary, verdictsOf } from './results.js';
import { SETS } from './sets.js';

const SUITE: Suite = { verdicts: verdictsOf, summary, explanations: EXPLANATIONS, outputs: join(projectRoot, '.ukl/kselftest') };
const PACKAGES = [{ package: 'libcap-dev', why: "seccomp's tests", file: '/usr/include/sys/capability.h' }];
/** A guest has room for 16 programs in ring 0, one of which tells in which ring they are. */
const PROGRAMS = 15;
const SECONDS = 120;
/** The shells bring the C library along, which a directory does not. */
const USERLAND = [
  ...['bash', 'dash', 'true', 'grep', 'wc'].map((name) => `/usr/bin/${name}`),
  ...['libcap.so.2', 'libm.so.6'].map((name) => `/lib/x86_64-linux-gnu/${name}`),
];

/** A set's tests, in as many batches as its programs need. */
function batchesOf({ set, directory, tests }: BuiltSet, only: readonly string[]): Batch[] {
  const helpers = set.helpers ?? [];
  const guest = `/kselftest/${set.directory}`;
  const names = (set.commands ? Object.keys(set.commands) : tests).filter((name) => only.length === 0 || only.includes(name));
  const jobs = names.map(
    (name): Job => ({ name: `${set.name}/${name}`, command: set.commands?.[name] ?? [`./${name}`], directory: guest, seconds: set.limits?.[name] ?? SECONDS }),
  );
  // A script starts any of the set's programs.
  const room = set.commands ? jobs.length : PROGRAMS - helpers.length;
  const batches: Batch[] = [];
  for (let first = 0; first < jobs.length; first += room) {
    const some = jobs.slice(first, first + room);
    const programs = set.commands ? tests.filter((name) => !name.endsWith('.sh')) : names.slice(first, first + room);
    batches.push({
      name: `${set.name}${jobs.length > room ? ` ${first + 1}-${first + some.length}` : ''}`,
      files: [`${directory}:${guest}`, ...USERLAND],
      programs: [...programs.map((name) => `${guest}/${name}`), ...helpers],
      jobs: some,
      memory: '1G',
      cpus: 2,
    });
  }
  return batches;
}

/** What was not run, and why. */
function leftOut({ set, missing, narrow }: BuiltSet): string[] {
  return [
    ...(narrow.length > 0 ? [`${set.name}: ${narrow.length} 32-bit tests are left out: 32-bit programs stay in ring 3.`] : []),
    ...(missing.length > 0 ? [`${set.name}: not compiled on this host: ${missing.join(', ')}.`] : []),
    ...Object.entries(set.leftOut ?? {}).map(([name, why]) => `${set.name}: ${name} is left out: ${why}.`),
  ];
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { note: { type: 'boolean', default: false } } });
  const names = positionals.length > 0 ? positionals : SETS.map(({ name }) => name);
  const unknown = names.find((name) => !SETS.some((set) => set.name === name.split('/')[0]));
  if (unknown !== undefined) throw new UklError('UKL_USAGE', `'${unknown}' is not one of ${SETS.map(({ name }) => name).join(', ')}, nor a test of one`);
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(name, () => controller.abort(new UklError('UKL_COMMAND', `interrupted by ${name}`)));
  const context = { log: createLog(), signal: controller.signal };
  await ensurePackages(context.log, [...allRequirements(), ...PACKAGES], context.signal);
  if (positionals.length === 0) await rm(SUITE.outputs, { recursive: true, force: true });
  const rows: Row[] = [];
  const built: BuiltSet[] = [];
  for (const set of SETS) {
    const one = await buildSet(set, context);
    built.push(one);
    if (!names.some((name) => name.split('/')[0] === set.name)) continue;
    const only = names.includes(set.name) ? [] : names.flatMap((name) => (name.startsWith(`${set.name}/`) ? [name.slice(set.name.length + 1)] : []));
    for (const batch of batchesOf(one, only)) {
      const some = await compareBatch(batch, SUITE, context);
      rows.push(...some);
      some.forEach(printRow);
    }
  }
  const missing = built.flatMap((one) => one.missing);
  process.stdout.write(
    `${built
      .flatMap(leftOut)
      .map((line) => `${line}\n`)
      .join('')}${countRows(rows)}; their output is in ${SUITE.outputs}\n`,
  );
  const all = await rememberRows(SUITE, rows);
  if (values.note) await writeNote('kselftest.md', reportRows(all, built.flatMap(leftOut)));
  return unexplainedRows(rows).length === 0 && missing.length === 0 ? 0 : 1;
}

await exitWith(main);
