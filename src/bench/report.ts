// SPDX-License-Identifier: MIT
/** A result as one HTML page that needs nothing else: charts, tables, and the numbers themselves. */
import type { BenchResult, Measured, SuiteResult } from './bench.js';
import { median, ratioOf, spread } from './stats.js';
import type { VariantName } from './suite.js';

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escape = (text: string): string => text.replaceAll(/[&<>"]/g, (character) => ESCAPES[character] ?? character);

export function formatFigure(value: number): string {
  if (!Number.isFinite(value)) return 'not measured';
  return value >= 1000 ? Math.round(value).toLocaleString('en') : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** Fewer rounds than this say nothing about the spread. */
export const ENOUGH_ROUNDS = 3;

/** How a variant stands beside the baseline. */
export type Standing = 'better' | 'worse' | 'noise' | 'unknown';

export interface Comparison {
  readonly standing: Standing;
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

/** A difference whose interval holds 1 is within the noise. */
export function compare(values: readonly number[], baseline: readonly number[], better: Measured['better']): Comparison {
  if (values.length === 0 || baseline.length === 0) return { standing: 'unknown', ratio: NaN, low: NaN, high: NaN };
  const { ratio, low, high } = ratioOf(values, baseline);
  if (Math.min(values.length, baseline.length) < ENOUGH_ROUNDS) return { standing: 'unknown', ratio, low: ratio, high: ratio };
  if (low <= 1 && high >= 1) return { standing: 'noise', ratio, low, high };
  return { standing: (better === 'more') === ratio > 1 ? 'better' : 'worse', ratio, low, high };
}

interface Titled {
  readonly name: VariantName;
  readonly title: string;
}

/** What a suite compared: the baseline, and the others. */
export function variantsOf(suite: SuiteResult, result: BenchResult): readonly [Titled | undefined, ...Titled[]] {
  const [base, ...others] = suite.variants.flatMap((name) => result.variants.find((variant) => variant.name === name) ?? []);
  return [base, ...others];
}

export const valuesOf = (metric: Measured, variant: Titled | undefined): readonly number[] =>
  variant === undefined ? [] : (metric.values[variant.name] ?? []);

/** What a metric is compared with: the first that has a number. */
export const baselineOf = (metric: Measured, variants: readonly (Titled | undefined)[]): readonly number[] =>
  variants.map((variant) => valuesOf(metric, variant)).find(({ length }) => length > 0) ?? [];

const WORDS: Readonly<Record<Standing, string>> = { better: 'better', worse: 'worse', noise: 'within the noise', unknown: 'too few rounds to tell' };

/** Of the chart, in its own units. */
const CHART = { width: 400, edge: 8, label: 14, row: 36, top: 20 } as const;

/** Narrow, so that it can be read on a phone: names above the marks. Each metric a row, each variant a mark at its ratio to the baseline, a line for the interval. */
function chart(suite: SuiteResult, result: BenchResult): string {
  const [base, ...others] = variantsOf(suite, result);
  if (base === undefined) return '';
  const rows = suite.metrics.flatMap((metric) => {
    const marks = others.map((variant) => compare(valuesOf(metric, variant), baselineOf(metric, [base, ...others]), metric.better));
    return marks.some(({ ratio }) => Number.isFinite(ratio)) ? [{ metric, marks }] : [];
  });
  if (rows.length === 0) return '';
  const all = rows.flatMap(({ marks }) => marks.flatMap(({ low, high }) => [low, high])).filter(Number.isFinite);
  const least = Math.min(0.95, ...all) - 0.02;
  const most = Math.max(1.05, ...all) + 0.02;
  const x = (ratio: number): number => CHART.edge + ((ratio - least) / (most - least)) * (CHART.width - 2 * CHART.edge);
  const height = CHART.top + rows.length * CHART.row + 8;
  const lines = rows.map(({ metric, marks }, index) => {
    const y = CHART.top + index * CHART.row + CHART.label;
    const middle = y + (CHART.row - CHART.label) / 2;
    const shapes = marks.map(({ ratio, low, high }, which) => {
      if (!Number.isFinite(ratio)) return '';
      const at = middle + (which - (others.length - 1) / 2) * 4;
      const title = `${escape(others[which]?.title ?? '')}: ${ratio.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
      return `<g class="v${which}"><title>${title}</title><line x1="${x(low).toFixed(1)}" x2="${x(high).toFixed(1)}" y1="${at}" y2="${at}"/><circle cx="${x(ratio).toFixed(1)}" cy="${at}" r="3"/></g>`;
    });
    return `<text x="0" y="${y - 1}">${escape(metric.title)}${metric.better === 'more' ? ' ↑' : ' ↓'}</text>${shapes.join('')}`;
  });
  const legend = others.map(({ title }, which) => `<span class="key v${which}">● ${escape(title)}</span>`).join(' ');
  return `<p class="legend">${legend} <span class="key">relative to: ${escape(base.title)} (1). ↓ less is better, ↑ more is better.</span></p>
<div><svg viewBox="0 0 ${CHART.width} ${height}" role="img" aria-label="${escape(suite.title)}: ratios to ${escape(base.title)}">
<line class="one" x1="${x(1).toFixed(1)}" x2="${x(1).toFixed(1)}" y1="${CHART.top - 6}" y2="${height}"/><text class="one" x="${x(1).toFixed(1)}" y="${CHART.top - 10}" text-anchor="middle">1</text>
${lines.join('\n')}
</svg></div>`;
}

function table(suite: SuiteResult, result: BenchResult): string {
  const [base, ...others] = variantsOf(suite, result);
  const head = [base, ...others].map((variant) => `<th>${escape(variant?.title ?? '')}</th>`).join('');
  const rows = suite.metrics.map((metric) => {
    const baseline = baselineOf(metric, [base, ...others]);
    const cell = (values: readonly number[]): string =>
      `${formatFigure(median(values))}${values.length > 1 ? ` <small>±${(100 * spread(values)).toFixed(1)} %</small>` : ''}`;
    const compared = others.map((variant) => {
      const values = valuesOf(metric, variant);
      const { standing, ratio } = compare(values, baseline, metric.better);
      const beside = Number.isFinite(ratio) && values !== baseline ? `<br><small class="${standing}">× ${ratio.toFixed(3)}, ${WORDS[standing]}</small>` : '';
      return `<td>${cell(values)}${beside}</td>`;
    });
    return `<tr><th scope="row">${escape(metric.title)}<br><small>${escape(metric.unit)}</small></th><td>${cell(valuesOf(metric, base))}</td>${compared.join('')}</tr>`;
  });
  return `<div class="scroll"><table><thead><tr><th></th>${head}</tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table></div>`;
}

const STYLE = `
:root { color-scheme: light dark; --text: #1b1f24; --paper: #fff; --faint: #667; --line: #d8dce2; --v0: #8a8f98; --v1: #b7791f; --v2: #1f6feb; --v3: #8250df; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ee; --paper: #14171c; --faint: #99a; --line: #333a44; --v0: #8a8f98; --v1: #e0a84b; --v2: #6cb0ff; --v3: #c297ff; --good: #56d364; --bad: #ff7b72; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--paper); max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
small, .legend, .key { color: var(--faint); } .legend { font-size: .85rem; } .key { margin-right: 1em; }
.scroll { overflow-x: auto; } svg { width: 100%; max-width: 40rem; height: auto; font: 11px system-ui, sans-serif; fill: var(--text); }
svg line { stroke-width: 2; } svg .one { stroke: var(--line); stroke-width: 1; } text.one { stroke: none; fill: var(--faint); }
.v0 { stroke: var(--v0); fill: var(--v0); } .v1 { stroke: var(--v1); fill: var(--v1); } .v2 { stroke: var(--v2); fill: var(--v2); } .v3 { stroke: var(--v3); fill: var(--v3); }
span.v0 { color: var(--v0); } span.v1 { color: var(--v1); } span.v2 { color: var(--v2); } span.v3 { color: var(--v3); }
table { border-collapse: collapse; font-size: .9rem; width: 100%; } th, td { text-align: right; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
tbody th { text-align: left; font-weight: normal; min-width: 8rem; } td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.better { color: var(--good); } .worse, .failure { color: var(--bad); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; } dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { max-width: none; } h2 { break-after: avoid; } .scroll { overflow: visible; } }
`;

/** One page; opens without a network, and carries the numbers that it shows. */
export function renderReport(result: BenchResult): string {
  const facts: readonly (readonly [string, string])[] = [
    ['made', result.made],
    ['command', result.command],
    ['rounds', `${result.rounds}, all variants in each${result.complete ? '' : ' (interrupted: what was finished)'}`],
    ['ukl', result.machine.commit],
    ['Linux', result.machine.kernel],
    ['QEMU', result.machine.qemu],
    ['accelerator', result.machine.accel],
    ['processor', `${result.machine.cpu}, ${result.machine.cores} cores`],
  ];
  const suites = result.suites.map(
    (suite) => `<section><h2>${escape(suite.title)}</h2>
${chart(suite, result)}
${table(suite, result)}
${suite.failures.map(({ variant, message }) => `<p class="failure">${escape(variant)}: ${escape(message)}</p>`).join('\n')}</section>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>ukl bench</title><style>${STYLE}</style></head>
<body><h1>ukl bench</h1>
<p>Guest instructions are counted by the emulator and repeat on each machine; seconds are this machine's, and only their ratios say something.
Medians; ± is half of what lies between the quartiles; brackets and lines are 95 % bootstrap intervals.</p>
<dl>${facts.map(([name, value]) => `<dt>${name}</dt><dd>${escape(value)}</dd>`).join('')}</dl>
${suites.join('\n')}
<h2>The numbers</h2><p>In this page's source, as JSON, in the element <code>#data</code>.</p>
<script type="application/json" id="data">${JSON.stringify(result).replaceAll('<', '\\u003c')}</script>
</body></html>
`;
}
