// SPDX-License-Identifier: MIT
/** How the ports of a machine of Bochs are read (test/bochs). */
import { expect, test } from 'vitest';
import { readPorts } from '../bochs/machine.js';

const OUTPUT = `== /host/one
first
ok

== exit 0
== /host/two

== signal 11
== /host/three
no end of li`;

const CONSOLE = `[    0.1] early\r
[    0.2] == /host/one\r
[    0.3] == /host/two\r
[    0.4] BUG: late\r
`;

test('what both ports say is told apart by program, and who has no end has that of the machine', () => {
  expect(readPorts(OUTPUT, CONSOLE, 'triple fault')).toEqual({
    results: [
      { path: '/host/one', stdout: 'first\nok\n', end: 'exit 0', console: [] },
      { path: '/host/two', stdout: '', end: 'signal 11', console: ['[    0.4] BUG: late'] },
      { path: '/host/three', stdout: 'no end of li', end: 'machine: triple fault', console: [] },
    ],
    console: ['[    0.1] early'],
    end: 'triple fault',
  });
});

test('a machine that never got to a program has no results', () => {
  expect(readPorts('', '', 'dead')).toEqual({ results: [], console: [], end: 'dead' });
});
