// SPDX-License-Identifier: MIT
import { writeFile } from 'node:fs/promises';
import pc from 'picocolors';
import { type BenchResult, bench } from '../bench/bench.js';
import { changes, lost, readResult, regressions } from '../bench/compare.js';
import { baselineOf, type Comparison, compare, formatFigure, renderReport, valuesOf, variantsOf } from '../bench/report.js';
import { median } from '../bench/stats.js';
import { EXIT, statusOfSignal } from '../model/exit-status.js';
import { type GlobalOptions, logFor, printJson } from './output.js';

export interface BenchFlags extends Omit<GlobalOptions, 'json'> {
  readonly json?: string | true;
  readonly report?: string;
  readonly rounds: number;
}

/** Beside the baseline, in colour. */
function verdict({ standing, ratio, low, high }: Comparison): string {
  switch (standing) {
    case 'unknown':
      return Number.isFinite(ratio) ? `${ratio.toFixed(3)} ${pc.dim('(too few rounds for an interval)')}` : '';
    case 'noise':
      return pc.dim(`${ratio.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}] within the noise`);
    case 'better':
    case 'worse':
      return (standing === 'better' ? pc.green : pc.red)(`${ratio.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`);
  }
}

function table(result: BenchResult): string {
  const lines: string[] = [];
  for (const suite of result.suites) {
    const [base, ...others] = variantsOf(suite, result);
    lines.push(pc.bold(suite.title));
    for (const metric of suite.metrics) {
      const baseline = baselineOf(metric, [base, ...others]);
      lines.push(`  ${metric.title} (${metric.unit}, ${metric.better} is better)`);
      if (base !== undefined) lines.push(`    ${base.title.padEnd(34)} ${formatFigure(median(valuesOf(metric, base)))}`);
      for (const variant of others) {
        const values = valuesOf(metric, variant);
        lines.push(
          `    ${variant.title.padEnd(34)} ${formatFigure(median(values)).padEnd(12)} ${values === baseline ? '' : verdict(compare(values, baseline, metric.better))}`,
        );
      }
    }
    for (const { variant, message } of suite.failures) lines.push(pc.red(`  ${variant}: ${message}`));
  }
  return lines.join('\n');
}

/** `ukl bench`: measures, prints, and keeps the numbers. */
export async function benchCommand(suites: readonly string[], flags: BenchFlags, signal: AbortSignal): Promise<number> {
  const result = await bench({ suites, rounds: flags.rounds, signal, log: logFor({ ...flags, json: flags.json === true }) });
  if (flags.report !== undefined) await writeFile(flags.report, renderReport(result));
  if (flags.json === true) printJson({ ok: true, ...result });
  else {
    if (flags.json !== undefined) await writeFile(flags.json, `${JSON.stringify(result, null, 1)}\n`);
    if (!flags.quiet) process.stdout.write(`${table(result)}\n`);
  }
  if (!result.complete) return statusOfSignal('SIGINT');
  return result.suites.some(({ failures }) => failures.length > 0) ? EXIT.failed : EXIT.ok;
}

/** `ukl bench compare`: the exit status says whether something became worse. */
export async function compareCommand(before: string, after: string, flags: GlobalOptions): Promise<number> {
  const [old, current] = [await readResult(before), await readResult(after)];
  const all = changes(old, current);
  const worse = regressions(all);
  const gone = lost(old, current);
  const ok = worse.length === 0 && gone.length === 0;
  const unknown = all.filter(({ standing }) => standing === 'unknown').length;
  if (flags.json) printJson({ ok, changes: all, regressions: worse, lost: gone });
  else {
    for (const change of all) {
      if (flags.quiet && !worse.includes(change)) continue;
      const figures = `${formatFigure(change.before)} → ${formatFigure(change.after)} ${change.unit}`;
      process.stdout.write(`${change.suite}: ${change.metric}, ${change.variant}: ${figures}, ${verdict(change)}\n`);
    }
    for (const what of gone) process.stdout.write(`${what}: not measured any more\n`);
    process.stdout.write(
      `${all.length} compared, ${worse.length} worse, ${gone.length} lost${unknown > 0 ? `, ${unknown} with too few rounds to tell` : ''}\n`,
    );
  }
  return ok ? EXIT.ok : EXIT.failed;
}
