// SPDX-License-Identifier: MIT
import { writeFile } from 'node:fs/promises';
import pc from 'picocolors';
import { bench, type BenchResult, type Measured } from '../bench/bench.js';
import { median, ratioOf, type Ratio } from '../bench/stats.js';
import { EXIT } from './exit-codes.js';
import { type GlobalOptions, logFor, printJson } from './output.js';

export interface BenchFlags extends Omit<GlobalOptions, 'json'> {
  readonly json?: string | true;
  readonly rounds: number;
}

const figure = (value: number): string => (value >= 1000 ? Math.round(value).toLocaleString('en') : value >= 10 ? value.toFixed(1) : value.toFixed(2));

/** Fewer rounds than this say nothing about the spread. */
const ENOUGH_ROUNDS = 3;

/** A difference whose interval holds 1 is within the noise. */
function verdict({ ratio, low, high }: Ratio, better: Measured['better'], rounds: number): string {
  if (rounds < ENOUGH_ROUNDS) return `${ratio.toFixed(3)} ${pc.dim(`(${rounds} round${rounds === 1 ? '' : 's'}: no interval)`)}`;
  const text = `${ratio.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
  if (low <= 1 && high >= 1) return pc.dim(`${text} within the noise`);
  return (better === 'more') === ratio > 1 ? pc.green(text) : pc.red(text);
}

function table(result: BenchResult): string {
  const lines: string[] = [];
  const [base, ...others] = result.variants;
  for (const suite of result.suites) {
    lines.push(pc.bold(suite.title));
    for (const metric of suite.metrics) {
      const rival = base === undefined ? [] : metric.values[base.name];
      lines.push(`  ${metric.title} (${metric.unit}, ${metric.better} is better)`);
      if (base !== undefined) lines.push(`    ${base.title.padEnd(24)} ${rival.length === 0 ? 'not measured' : figure(median(rival))}`);
      for (const { name, title } of others) {
        const values = metric.values[name];
        lines.push(`    ${title.padEnd(24)} ${values.length === 0 ? 'not measured' : `${figure(median(values)).padEnd(12)} ${rival.length === 0 ? '' : verdict(ratioOf(values, rival), metric.better, Math.min(values.length, rival.length))}`}`);
      }
    }
    for (const { variant, message } of suite.failures) lines.push(pc.red(`  ${variant}: ${message}`));
  }
  return lines.join('\n');
}

/** `ukl bench`: measures, prints, and keeps the numbers. */
export async function benchCommand(suites: readonly string[], flags: BenchFlags, signal: AbortSignal): Promise<number> {
  const result = await bench({ suites, rounds: flags.rounds, signal, log: logFor({ ...flags, json: flags.json === true }) });
  if (flags.json === true) printJson({ ok: true, ...result });
  else {
    if (flags.json !== undefined) await writeFile(flags.json, `${JSON.stringify(result, null, 1)}\n`);
    if (!flags.quiet) process.stdout.write(`${table(result)}\n`);
  }
  if (!result.complete) return 130; // as whoever is ended by SIGINT
  return result.suites.some(({ failures }) => failures.length > 0) ? EXIT.failed : EXIT.ok;
}
