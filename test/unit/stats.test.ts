// SPDX-License-Identifier: MIT
import { expect, test } from 'vitest';
import { median, ratioOf, spread } from '../../src/bench/stats.js';

test('median', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test('spread is half of what lies between the quartiles, as a part of the median', () => {
  expect(spread([10, 10, 10])).toBe(0);
  expect(spread([8, 9, 10, 11, 12])).toBeCloseTo(0.1);
});

test('a ratio and its interval', () => {
  const clear = ratioOf([90, 91, 92, 93, 94], [100, 101, 102, 103, 104]);
  expect(clear.ratio).toBeCloseTo(92 / 102);
  expect(clear.low).toBeLessThanOrEqual(clear.ratio);
  expect(clear.high).toBeGreaterThanOrEqual(clear.ratio);
  expect(clear.high).toBeLessThan(1);
  // The same numbers in another order: the interval holds 1, each time alike.
  const noise = ratioOf([90, 110, 100, 95, 105], [105, 95, 90, 110, 100]);
  expect(noise.low).toBeLessThan(1);
  expect(noise.high).toBeGreaterThan(1);
  expect(ratioOf([90, 110, 100, 95, 105], [105, 95, 90, 110, 100])).toEqual(noise);
});
