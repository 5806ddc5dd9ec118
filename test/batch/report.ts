// SPDX-License-Identifier: MIT
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Batch, type Context, type JobResult, runBoth } from './batch.js';
import { type Difference, differences, type Explanation } from './compare.js';
import { table } from './note.js';

/** How a suite's output is read. */
export interface Suite {
  /** All that is compared of a result. */
  verdicts(result: JobResult): string[];
  /** The same in a few words, for the table. */
  summary(result: JobResult): string;
  readonly explanations: readonly Explanation[];
  /** Where the programs' output is kept. */
  readonly outputs: string;
}

export interface Row {
  readonly test: string;
  readonly ring0: string;
  readonly stock: string;
  readonly differences: readonly Difference[];
  /** How many more runs it took until both sides agreed. */
  readonly repeats: number;
}

/** How often tests are run again that differ: some depend on the time, which a busy host has not. */
const TIMES = 2;

const unexplained = (row: Row): boolean => row.differences.some(({ why }) => why === undefined);

export const unexplainedRows = (rows: readonly Row[]): Row[] => rows.filter(unexplained);

async function compareOnce(batch: Batch, suite: Suite, repeats: number, context: Context): Promise<Row[]> {
  const results = await runBoth(batch, suite.outputs, context);
  return results.ring0.map((ring0, index) => {
    const stock = results.stock[index] ?? { ...ring0, end: 'absent', lines: [], complaints: [] };
    return {
      test: ring0.name,
      ring0: suite.summary(ring0),
      stock: suite.summary(stock),
      differences: differences(ring0.name, suite.verdicts(ring0), suite.verdicts(stock), suite.explanations),
      repeats,
    };
  });
}

/** Runs a batch on both sides, and again what differs without an explanation. */
export async function compareBatch(batch: Batch, suite: Suite, context: Context): Promise<Row[]> {
  const rows = new Map((await compareOnce(batch, suite, 0, context)).map((row) => [row.test, row]));
  for (let time = 1; time <= TIMES; time++) {
    const jobs = batch.jobs.filter(({ name }) => unexplainedRows([...rows.values()]).some(({ test }) => test === name));
    if (jobs.length === 0) break;
    for (const row of await compareOnce({ ...batch, name: `${batch.name}, what differs`, jobs }, suite, time, context)) rows.set(row.test, row);
  }
  return [...rows.values()];
}

/** Remembers the last result of each test: a note may be made of several runs. Returns all of them, by name. */
export async function rememberRows(suite: Suite, rows: readonly Row[]): Promise<Row[]> {
  const file = join(suite.outputs, 'rows.json');
  const known = JSON.parse(await readFile(file, 'utf8').catch(() => '[]')) as Row[];
  const all = new Map([...known, ...rows].map((row) => [row.test, row]));
  const sorted = [...all.values()].sort((a, b) => (a.test < b.test ? -1 : 1));
  await mkdir(suite.outputs, { recursive: true });
  await writeFile(file, JSON.stringify(sorted));
  return sorted;
}

const show = ({ side, line }: Difference): string => `${side === 'ring0' ? 'ring 0' : 'stock'} only: \`${line.replaceAll('`', "'")}\``;

export function printRow({ test, ring0, stock, differences: found, repeats }: Row): void {
  process.stdout.write(`${test}: ring 0: ${ring0}; stock: ${stock}${repeats > 0 ? ` (run ${repeats + 1})` : ''}\n`);
  for (const one of new Set(found.map((difference) => `    ${show(difference)}${difference.why === undefined ? '' : ` (${difference.why})`}\n`)))
    process.stdout.write(one);
}

export function countRows(rows: readonly Row[]): string {
  return `${rows.length} tests, ${rows.filter((row) => row.differences.length > 0).length} differ, ${unexplainedRows(rows).length} of them without an explanation`;
}

/**
 * The table of a note and, below it, each difference. Tests of which both sides
 * say no more than `plain` are only named.
 */
export function reportRows(rows: readonly Row[], further: readonly string[], plain?: string): string {
  const verdict = (row: Row): string =>
    [row.differences.length === 0 ? '' : unexplained(row) ? '**not explained**' : 'explained', row.repeats > 0 ? `run ${row.repeats + 1}` : '']
      .filter((word) => word !== '')
      .join(', ');
  const named = rows.filter(({ ring0, stock, differences: found, repeats }) => ring0 === plain && stock === plain && found.length === 0 && repeats === 0);
  return [
    `${countRows(rows)}.`,
    table(
      ['test', 'ring 0', 'stock', 'differs'],
      rows.filter((row) => !named.includes(row)).map((row) => [row.test, row.ring0, row.stock, verdict(row)]),
    ),
    ...(named.length > 0 ? [`${named.length} ${plain} on both sides: ${named.map(({ test }) => test).join(', ')}.`] : []),
    ...further,
    ...rows
      .filter((row) => row.differences.length > 0)
      .map(({ test, differences: found }) => {
        const lines = [...new Set(found.filter(({ why }) => why === undefined).map(show))];
        const reasons = [...new Set(found.flatMap(({ why }) => (why === undefined ? [] : [why])))];
        return [`**${test}**`, '', ...reasons.map((why) => `* ${why}`), ...lines.map((line) => `* not explained: ${line}`)].join('\n');
      }),
  ].join('\n\n');
}
