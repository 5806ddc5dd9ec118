// SPDX-License-Identifier: MIT
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Tree } from './build.js';

/** Result by test ("nptl/tst-cond1"): PASS, FAIL, XFAIL, XPASS, UNSUPPORTED, UNRESOLVED. */
export type Results = ReadonlyMap<string, string>;

export function parseResults(text: string): Results {
  const lines = text.split('\n').map((line) => /^([A-Z]+): (\S+)$/.exec(line));
  return new Map(lines.flatMap((match): [string, string][] => (match?.[1] && match[2] ? [[match[2], match[1]]] : [])).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What glibc's make has written about one of its directories. */
export async function readResults(tree: Tree, subset: string): Promise<Results> {
  return parseResults(await readFile(join(tree.build, subset, 'subdir-tests.sum'), 'utf8'));
}

/** The sorted list of one flavour, as glibc writes it. */
export function formatResults(results: Results): string {
  return [...results]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([test, result]) => `${result}: ${test}\n`)
    .join('');
}

export function countResults(results: Results): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const result of results.values()) counts[result] = (counts[result] ?? 0) + 1;
  return counts;
}

export interface Difference {
  readonly test: string;
  readonly stock: string;
  readonly ukl: string;
}

/** Tests whose results are not the same; one that only one side has is "absent" on the other. */
export function compareResults(stock: Results, ukl: Results): Difference[] {
  const names = [...new Set([...stock.keys(), ...ukl.keys()])].sort();
  return names.map((test) => ({ test, stock: stock.get(test) ?? 'absent', ukl: ukl.get(test) ?? 'absent' })).filter((one) => one.stock !== one.ukl);
}
