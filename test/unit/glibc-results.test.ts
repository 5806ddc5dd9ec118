// SPDX-License-Identifier: MIT
import { expect, test } from 'vitest';
import { compareResults, countResults, formatResults, parseResults } from '../glibc/results.js';

const stock = parseResults('PASS: nptl/b\nFAIL: nptl/a\nUNSUPPORTED: nptl/c\n');

test('the lists of glibc are read, sorted and counted', () => {
  expect(formatResults(stock)).toBe('FAIL: nptl/a\nPASS: nptl/b\nUNSUPPORTED: nptl/c\n');
  expect(countResults(stock)).toEqual({ FAIL: 1, PASS: 1, UNSUPPORTED: 1 });
});

test('every test whose result is not the same differs, one that is missing too', () => {
  expect(compareResults(stock, stock)).toEqual([]);
  expect(compareResults(stock, parseResults('PASS: nptl/a\nPASS: nptl/b\nPASS: nptl/d\n'))).toEqual([
    { test: 'nptl/a', stock: 'FAIL', ukl: 'PASS' },
    { test: 'nptl/c', stock: 'UNSUPPORTED', ukl: 'absent' },
    { test: 'nptl/d', stock: 'absent', ukl: 'PASS' },
  ]);
});
