// SPDX-License-Identifier: MIT
import type { Side } from './batch.js';

/** A difference that is as it should be. */
export interface Explanation {
  /** The test; "*" for any. */
  readonly test: string;
  /** Which of its differing lines; by default all but a guest's death and what the kernel complains about. */
  readonly lines?: RegExp;
  readonly why: string;
}

export interface Difference {
  readonly test: string;
  /** The only side that has the line. */
  readonly side: Side;
  readonly line: string;
  readonly why: string | undefined;
}

const ORDINARY = /^(?!kernel: |end: guest)/;

/** The lines that only one side has, as often as it has them more than the other. */
function excess(some: readonly string[], others: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const line of others) left.set(line, (left.get(line) ?? 0) + 1);
  return some.filter((line) => {
    const count = left.get(line) ?? 0;
    left.set(line, count - 1);
    return count <= 0;
  });
}

/** Compares two lists of verdicts. Their order does not count: threads print when they run. */
export function differences(test: string, ring0: readonly string[], stock: readonly string[], explanations: readonly Explanation[]): Difference[] {
  const explain = (line: string): string | undefined =>
    explanations.find((one) => (one.test === test || one.test === '*') && (one.lines ?? ORDINARY).test(line))?.why;
  const of = (side: Side, lines: readonly string[]): Difference[] => lines.map((line) => ({ test, side, line, why: explain(line) }));
  return [...of('ring0', excess(ring0, stock)), ...of('stock', excess(stock, ring0))];
}
