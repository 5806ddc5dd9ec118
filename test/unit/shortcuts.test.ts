// SPDX-License-Identifier: MIT
import { expect, test } from 'vitest';
import { findShortcut, refusals } from '../../src/kernels/shortcuts.js';

test("modpost's refusals, in words", () => {
  const output = `  MODPOST /work/Module.symvers
ERROR: modpost: missing MODULE_LICENSE() in /work/ukl_a.o
ERROR: modpost: "no_such_function" [/work/ukl_a.ko] undefined!
ERROR: modpost: GPL-incompatible module ukl_b.ko uses GPL-only symbol 'import_ubuf'
ERROR: modpost: something else
make[2]: *** [scripts/Makefile.modpost:145: /work/Module.symvers] Error 1
`;
  expect(refusals(output)).toEqual([
    'ukl_a does not say its MODULE_LICENSE()',
    'ukl_a calls no_such_function, which the kernel does not export',
    'ukl_b calls import_ubuf, which is exported to GPL-compatible modules only',
    'something else',
  ]);
  expect(refusals('mine.c:3: error: something\n')).toEqual([]);
});

test('a shortcut is a file, or one that ukl has', () => {
  expect(findShortcut('tcp', '/nowhere')).toMatch(/\/guest\/modules\/tcp\.c$/);
  expect(() => findShortcut('udp', '/nowhere')).toThrow(/the shortcut udp does not exist/);
  expect(() => findShortcut('mine.c', '/nowhere')).toThrow(/no \/nowhere\/mine\.c/);
});
