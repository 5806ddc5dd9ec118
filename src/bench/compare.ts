// SPDX-License-Identifier: MIT
/** Two results of the same suites, an older and a newer one: what became better, what worse. */
import { readFile } from 'node:fs/promises';
import { UklError } from '../lib/errors.js';
import type { BenchResult } from './bench.js';
import { type Comparison, compare } from './report.js';
import { median } from './stats.js';

/** Below this, in parts, nobody would call it a regression, however sure it is. */
const WORTH_TELLING = 0.005;

export interface Change extends Comparison {
  readonly suite: string;
  readonly metric: string;
  readonly unit: string;
  readonly variant: string;
  readonly before: number;
  readonly after: number;
}

/** A result that `ukl bench --json` wrote. Throws UKL_USAGE. */
export async function readResult(path: string): Promise<BenchResult> {
  const hint = `ukl bench --json ${path}`;
  const text = await readFile(path, 'utf8').catch(() => {
    throw new UklError('UKL_USAGE', `could not read ${path}`, { hint });
  });
  try {
    const result = JSON.parse(text) as BenchResult;
    if (result.format === 2 && Array.isArray(result.suites)) return result;
  } catch {
    // not JSON
  }
  throw new UklError('UKL_USAGE', `${path} is not a result of ukl bench`, { hint });
}

/** What both have, number by number. */
export function changes(before: BenchResult, after: BenchResult): Change[] {
  return after.suites.flatMap((suite) =>
    suite.metrics.flatMap((metric) => {
      const old = before.suites.find(({ name }) => name === suite.name)?.metrics.find(({ name }) => name === metric.name);
      return suite.variants.flatMap((variant): Change[] => {
        const was = old?.values[variant] ?? [];
        const is = metric.values[variant] ?? [];
        if (was.length === 0 || is.length === 0) return [];
        return [
          { suite: suite.name, metric: metric.title, unit: metric.unit, variant, before: median(was), after: median(is), ...compare(is, was, metric.better) },
        ];
      });
    }),
  );
}

/** Numbers that the older result has and the newer one lost: a suite that failed is no progress. */
export function lost(before: BenchResult, after: BenchResult): string[] {
  return before.suites.flatMap((suite) => {
    const now = after.suites.find(({ name }) => name === suite.name);
    // A suite that was not asked for is not lost.
    if (now === undefined) return [];
    return suite.metrics.flatMap((metric) => {
      const is = now.metrics.find(({ name }) => name === metric.name);
      return suite.variants
        .filter((variant) => (metric.values[variant] ?? []).length > 0 && (is?.values[variant] ?? []).length === 0)
        .map((variant) => `${suite.name}: ${metric.title}, ${variant}`);
    });
  });
}

/** Those that are told, and worse: more than the noise, and enough to matter. */
export const regressions = (all: readonly Change[]): Change[] =>
  all.filter(({ standing, ratio }) => standing === 'worse' && Math.abs(ratio - 1) > WORTH_TELLING);
