// SPDX-License-Identifier: MIT
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { difference, encodeUnit, hottestArc, type ReadMemory, readCounters, type Units } from '../../src/optimize/gcov.js';

const BASE = 0xffffffff81000000n;
const GCC = 12;
const VERSION = 0x42323270; // "B22p"

/** Memory with a list of objects, as a kernel with CONFIG_GCOV_KERNEL has it. */
function memoryWith(objects: readonly { readonly name: string; readonly functions: readonly (readonly bigint[])[] }[]): ReadMemory {
  const memory = Buffer.alloc(16384);
  let free = 8;
  const place = (bytes: Buffer): bigint => {
    const at = free;
    bytes.copy(memory, at);
    free += (bytes.length + 15) & ~15;
    return BASE + BigInt(at);
  };
  let next = 0n;
  for (const { name, functions } of objects) {
    const pointers = functions.map((arcs, index) => {
      const values = Buffer.alloc(arcs.length * 8);
      for (const [arc, count] of arcs.entries()) values.writeBigUInt64LE(count, arc * 8);
      const info = Buffer.alloc(40);
      info.writeUInt32LE(100 + index, 8);
      info.writeUInt32LE(200, 12);
      info.writeUInt32LE(300, 16);
      info.writeUInt32LE(arcs.length, 24);
      info.writeBigUInt64LE(place(values), 32);
      return place(info);
    });
    const table = Buffer.alloc(8 * pointers.length);
    for (const [index, pointer] of pointers.entries()) table.writeBigUInt64LE(pointer, index * 8);
    const info = Buffer.alloc(32 + 8 * 8 + 16);
    info.writeUInt32LE(VERSION, 0);
    info.writeBigUInt64LE(next, 8);
    info.writeUInt32LE(7, 16);
    info.writeBigUInt64LE(place(Buffer.from(`${name}\0`)), 24);
    info.writeUInt32LE(functions.length, 96);
    info.writeBigUInt64LE(place(table), 104);
    next = place(info);
  }
  memory.writeBigUInt64LE(next, 0);
  return async (address, bytes) => memory.subarray(Number(address - BASE), Number(address - BASE) + bytes);
}

const read = (first: readonly bigint[]): Promise<Units> =>
  readCounters(
    memoryWith([
      { name: '/build/init/main.gcda', functions: [[1n, 2n], [3n]] },
      { name: '/build/net/ipv4/tcp.gcda', functions: [first] },
      { name: '/elsewhere/ukl_express.gcda', functions: [[9n]] },
    ]),
    BASE,
    GCC,
  );

describe('counters of a kernel', () => {
  test('are found by the names that gcc looks for, modules by their own', async () => {
    expect([...(await read([5n])).keys()].sort()).toEqual(['init#main.gcda', 'net#ipv4#tcp.gcda', 'ukl_express.gcda']);
  });

  test('of a load are what was added in it', async () => {
    const added = difference(await read([5n, 1n]), await read([2n ** 40n, 4n]));
    expect(added.get('net#ipv4#tcp.gcda')?.functions[0]?.arcs).toEqual([2n ** 40n - 5n, 3n]);
    expect(added.get('init#main.gcda')?.functions[0]?.arcs).toEqual([0n, 0n]);
    expect(hottestArc(added)).toBe(2n ** 40n - 5n);
  });

  test("are written as GCC's own tool reads them", async () => {
    const unit = (await read([2n ** 40n, 4n])).get('net#ipv4#tcp.gcda');
    const directory = mkdtempSync(join(tmpdir(), 'ukl-gcov-'));
    try {
      const file = join(directory, 'tcp.gcda');
      writeFileSync(file, encodeUnit(unit ?? { version: 0, stamp: 0, functions: [] }, 2n ** 40n));
      const said = execFileSync('gcov-dump', ['-l', file], { encoding: 'utf8' });
      expect(said).toMatch(/stamp 7/);
      expect(said).toMatch(/OBJECT_SUMMARY runs=1, sum_max=4294967295/);
      expect(said).toMatch(/FUNCTION ident=100, lineno_checksum=0x000000c8, cfg_checksum=0x0000012c/);
      expect(said).toMatch(/COUNTERS arcs 2 counts/);
      expect(said).toMatch(/1099511627776 4/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('of an older compiler are refused', async () => {
    await expect(readCounters(memoryWith([]), BASE, 11)).rejects.toThrow('GCC 11 is too old');
  });
});
