// SPDX-License-Identifier: MIT
/** How the suites in test/kselftest and test/stress are compared. */
import { describe, expect, test } from 'vitest';
import { complaintsIn } from '../batch/batch.js';
import { differences } from '../batch/compare.js';
import { summary, verdictsOf } from '../kselftest/results.js';

const result = (lines: readonly string[], end = 'exit 0') => ({ name: 'x86/some', end, lines, complaints: [] });

describe('verdicts of kselftest', () => {
  test('are TAP and brackets, without numbers that change', () => {
    const lines = ['# about to fail', 'ok 12 took 35 ms at 0x7f00', '[RUN]\tit', '[FAIL]\tReg 17 mismatch: 0x40246', 'not ok 2 # SKIP no pkeys'];
    expect(verdictsOf(result(lines, 'exit 1'))).toEqual(['ok 12 took # ms at #', '[FAIL] Reg # mismatch: #', 'not ok 2 # SKIP no pkeys', 'end: exit 1']);
    expect(summary(result(lines, 'exit 1'))).toBe('1 ok, 1 not ok, 1 skipped, exit 1');
  });
});

describe('differences', () => {
  const of = (ring0: string[], stock: string[]) =>
    differences('x86/some', ring0, stock, [{ test: 'x86/some', why: 'by design' }]).map(({ side, line, why }) => [side, line, why]);

  test('do not depend on the order, but on how often a line is there', () => {
    expect(of(['a', 'b'], ['b', 'a'])).toEqual([]);
    expect(of(['a', 'a'], ['a'])).toEqual([['ring0', 'a', 'by design']]);
    expect(of(['a'], ['a', 'a', 'b'])).toEqual([
      ['stock', 'a', 'by design'],
      ['stock', 'b', 'by design'],
    ]);
  });

  test('are not explained by the way if the guest died', () => {
    expect(of(['end: guest: panic: x', 'kernel: WARNING: y'], [])).toEqual([
      ['ring0', 'end: guest: panic: x', undefined],
      ['ring0', 'kernel: WARNING: y', undefined],
    ]);
  });
});

test('the kernel complains about itself, not about programs', () => {
  const console = [
    '[    1.0] WARNING: CPU: 1 PID: 5 at a.c:1 f+0x1/0x2',
    '[    2.0] traps: app[3] general protection fault ip:1',
    '[    2.1] app[3]: segfault at 8',
    '<4>[    3.0] BUG: kernel NULL pointer dereference',
    '[ 0.1] rcu: Hierarchical RCU',
    '[ 4.0] WARNING: suspicious RCU usage',
    '[ 5.0] INFO: trying to register non-static key.',
  ];
  expect(complaintsIn(console)).toEqual([
    'WARNING: CPU: 1 PID: 5 at a.c:1 f+0x1/0x2',
    'BUG: kernel NULL pointer dereference',
    'WARNING: suspicious RCU usage',
    'INFO: trying to register non-static key.',
  ]);
});
