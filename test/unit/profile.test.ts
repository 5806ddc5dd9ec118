// SPDX-License-Identifier: MIT
import { describe, expect, test } from 'vitest';
import { type Frame, fold } from '../../src/profile/fold.js';
import { type Dump, DumpReader, parseAddress } from '../../src/profile/profiler.js';
import { type Place, parseMaps, parseNm, SymbolTable } from '../../src/profile/symbols.js';

describe('addresses', () => {
  test('of the kernel keep every bit, below zero', () => {
    expect(parseAddress('ffffffff81000001')).toBe(-0x7effffff);
    expect(parseAddress('7fffffffeb98')).toBe(0x7fffffffeb98);
  });

  test('have the function that they are in, and none beyond its end', () => {
    const table = new SymbolTable(
      parseNm(
        '0000000000001010 0000000000000010 T main\n0000000000001000 0000000000000008 t helper.cold\n0000000000002000 t asm_entry\n0000000000000008 D data\n',
      ),
    );
    expect([0xfff, 0x1000, 0x1007, 0x1008, 0x1010, 0x101f, 0x1020, 0x2345].map((address) => table.find(address))).toEqual([
      undefined,
      'helper',
      'helper',
      undefined,
      'main',
      'main',
      undefined,
      'asm_entry',
    ]);
  });

  test('of a program are those that can be executed', () => {
    expect(
      parseMaps([
        '00400000-00401000 r--p 00000000 00:02 15                                 /app/tr',
        '00401000-0049b000 r-xp 00001000 00:02 15                                 /app/tr',
        '7ffff7ffb000-7ffff7ffd000 r-xp 00000000 00:00 0                          [vdso]',
        '3f00000000-3f00010000 rwxp 00000000 00:00 0 ',
      ]),
    ).toEqual([
      { start: 0x401000, end: 0x49b000, offset: 0x1000, path: '/app/tr' },
      { start: 0x7ffff7ffb000, end: 0x7ffff7ffd000, offset: 0, path: '[vdso]' },
      { start: 0x3f00000000, end: 0x3f00010000, offset: 0, path: '' },
    ]);
  });
});

/** 0x100 is main, 0x200 send, 0x300 a trampoline; the kernel's are negative. */
const PLACES: readonly (readonly [number, Place])[] = [
  [0x300, { name: '__x86_indirect_thunk_rax', object: 'kernel' }],
  [0x200, { name: 'send', object: 'libc.so.6' }],
  [0x100, { name: 'main', object: 'app' }],
  [0, { name: '[init]', object: 'init' }],
  [-0x100, { name: 'sys_send', object: 'kernel' }],
  [-0x200, { name: 'entry', object: 'kernel' }],
];
const place = (address: number): Place => PLACES.find(([start]) => address >= start)?.[1] ?? { name: '?', object: '?' };

function dumpOf(lines: readonly string[]): Dump {
  const reader = new DumpReader();
  for (const line of lines) expect(reader.add(line)).toBeUndefined();
  const dump = reader.add('end');
  if (dump === undefined) throw new Error('not at its end');
  return dump;
}

const outline = ({ name, value, children }: Frame): unknown => [name, value, ...children.map(outline)];

describe('a dump', () => {
  const dump = dumpOf([
    'node 1 0 8 100 1', // main, from nowhere known
    'node 2 1 110 200 7', // main calls send
    'node 3 2 ffffffffffffff00 ffffffffffffff00 7', // send enters the kernel, which calls
    'node 4 3 ffffffffffffff08 300 7', // by way of a trampoline
    'count 1 120 10',
    'count 2 200 70',
    'count 2 fffffffffffffe08 21', // the entry itself, reached by a jump
    'count 4 ffffffffffffff10 49',
    'count 4 300 7',
  ]);
  const { tree, functions } = fold(dump, place);

  test('becomes a tree in which each frame has what is below it', () => {
    expect(outline(tree)).toEqual(['guest', 157, ['[init]', 157, ['main', 157, ['send', 147, ['entry', 21], ['sys_send', 56]]]]]);
  });

  test('becomes a list of what each function took itself, and how often it was called', () => {
    expect(functions.map(({ name, self, calls }) => [name, self, calls])).toEqual([
      ['send', 70, 7],
      ['sys_send', 49, 7],
      ['entry', 21, 0],
      ['main', 10, 1],
      ['__x86_indirect_thunk_rax', 7, 7],
    ]);
  });
});
