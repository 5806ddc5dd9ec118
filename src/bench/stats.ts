// SPDX-License-Identifier: MIT

/** The middle of some numbers; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? (sorted[Math.floor(middle)] ?? NaN) : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

/** Where a share of some numbers is not above; NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

/** Half the distance between the quartiles, as a part of the median. */
export function spread(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.round(part * (sorted.length - 1))] ?? NaN;
  return (at(0.75) - at(0.25)) / 2 / median(values);
}

/** A small generator (xorshift32), so that a report can be made again with the same intervals. */
function random(seed: number): () => number {
  let state = seed || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export interface Ratio {
  readonly ratio: number;
  /** 95 % of the bootstrap's ratios of medians lie between these. */
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 2000;

/** The ratio of two medians with a bootstrap confidence interval of 95 %. */
export function ratioOf(values: readonly number[], base: readonly number[]): Ratio {
  const next = random(values.length * 7919 + base.length);
  const resample = (from: readonly number[]): number => median(from.map(() => from[Math.floor(next() * from.length)] ?? NaN));
  const ratios = Array.from({ length: RESAMPLES }, () => resample(values) / resample(base)).sort((a, b) => a - b);
  return {
    ratio: median(values) / median(base),
    low: ratios[Math.floor(0.025 * RESAMPLES)] ?? NaN,
    high: ratios[Math.floor(0.975 * RESAMPLES)] ?? NaN,
  };
}
