// SPDX-License-Identifier: MIT
/**
 * What the counters of a kernel that is built for gcov hold (CONFIG_GCOV_KERNEL),
 * read from the memory of its guest, and written as gcc -fprofile-use reads it.
 * The guest takes no part: what would export the counters (debugfs) is left alone.
 */
import { basename, relative } from 'node:path';
import { PAGE } from '../lib/align.js';
import { UklError } from '../lib/errors.js';

/** Reads the guest's memory by kernel addresses. */
export type ReadMemory = (address: bigint, bytes: number) => Promise<Buffer>;

/** A function's identity, and how often each of its arcs was taken. */
interface Counted {
  readonly ident: number;
  readonly lineChecksum: number;
  readonly cfgChecksum: number;
  readonly arcs: readonly bigint[];
}

/** One compiled file. */
export interface Unit {
  readonly version: number;
  readonly stamp: number;
  readonly functions: readonly Counted[];
}

/** Compiled files by the names of their .gcda files, as -fprofile-use looks for them. */
export type Units = ReadonlyMap<string, Unit>;

/** struct gcov_info and struct gcov_fn_info of kernel/gcov/gcc_4_7.c, in bytes. */
const INFO = { version: 0, next: 8, stamp: 16, filename: 24, merge: 32 } as const;
const FUNCTION = { ident: 8, lineChecksum: 12, cfgChecksum: 16, counters: 24, bytes: 40 } as const;
const NAME_MAX = 512;

/** GCOV_COUNTERS there, by GCC's version. The layout is that of GCC 12 and later. */
function counterKinds(gcc: number): number {
  if (gcc < 12) throw new UklError('UKL_COMMAND', `GCC ${gcc} is too old: its counters are laid out in another way`, { hint: 'GCC 12 or later' });
  return gcc >= 15 ? 10 : gcc >= 14 ? 9 : 8;
}

/** A file whose object stands in every kernel: its name tells where the kernel was built. */
const LANDMARK = '/init/main.gcda';

const unsigned = (address: bigint): bigint => BigInt.asUintN(64, address);

async function readName(read: ReadMemory, address: bigint): Promise<string> {
  // Behind a module's last page there may be nothing.
  const bytes = await read(address, Math.min(NAME_MAX, PAGE - Number(address % BigInt(PAGE))));
  const end = bytes.indexOf(0);
  if (end >= 0 || bytes.length === NAME_MAX) return bytes.toString('latin1', 0, end < 0 ? NAME_MAX : end);
  return bytes.toString('latin1') + (await readName(read, address + BigInt(bytes.length)));
}

async function readFunction(read: ReadMemory, address: bigint): Promise<Counted> {
  const it = await read(address, FUNCTION.bytes);
  // One kind of counters: -fprofile-arcs has no other.
  const count = it.readUInt32LE(FUNCTION.counters);
  const values = await read(it.readBigUInt64LE(FUNCTION.counters + 8), count * 8);
  return {
    ident: it.readUInt32LE(FUNCTION.ident),
    lineChecksum: it.readUInt32LE(FUNCTION.lineChecksum),
    cfgChecksum: it.readUInt32LE(FUNCTION.cfgChecksum),
    arcs: Array.from({ length: count }, (_, index) => values.readBigUInt64LE(index * 8)),
  };
}

/**
 * Reads all counters.
 *
 * @param head address of gcov_info_head
 * @param gcc major version of the compiler
 * @throws UKL_COMMAND for a compiler whose counters are laid out otherwise
 */
export async function readCounters(read: ReadMemory, head: bigint, gcc: number): Promise<Units> {
  const kinds = counterKinds(gcc);
  const functionsAt = INFO.merge + 8 * kinds;
  const found: { readonly name: string; readonly unit: Unit }[] = [];
  let at = unsigned((await read(head, 8)).readBigUInt64LE());
  while (at !== 0n) {
    const info = await read(at, functionsAt + 16);
    const count = info.readUInt32LE(functionsAt);
    const table = await read(info.readBigUInt64LE(functionsAt + 8), count * 8);
    const functions: Counted[] = [];
    for (let index = 0; index < count; index++) functions.push(await readFunction(read, table.readBigUInt64LE(index * 8)));
    const name = await readName(read, info.readBigUInt64LE(INFO.filename));
    found.push({ name, unit: { version: info.readUInt32LE(INFO.version), stamp: info.readUInt32LE(INFO.stamp), functions } });
    at = info.readBigUInt64LE(INFO.next);
  }
  const landmark = found.find(({ name }) => name.endsWith(LANDMARK))?.name;
  const root = landmark?.slice(0, -LANDMARK.length) ?? '/';
  // Modules are built elsewhere, each in the directory that is its prefix.
  const place = (name: string): string => (name.startsWith(`${root}/`) ? relative(root, name) : basename(name));
  return new Map(found.map(({ name, unit }) => [place(name).replaceAll('/', '#'), unit]));
}

/** What was counted between two readings. */
export function difference(before: Units, after: Units): Units {
  return new Map(
    [...after].map(([name, unit]) => [
      name,
      {
        ...unit,
        functions: unit.functions.map((one, index) => {
          const old = before.get(name)?.functions[index]?.arcs ?? [];
          return { ...one, arcs: one.arcs.map((count, arc) => count - (old[arc] ?? 0n)) };
        }),
      },
    ]),
  );
}

/** Magic number and tags of gcov-io.h in GCC's sources; lengths are in bytes there since GCC 12. */
const MAGIC = 0x67636461;
const TAG_FUNCTION = 0x01000000;
const TAG_ARCS = 0x01a10000;
const TAG_SUMMARY = 0xa1000000;

/** A .gcda file. The summary tells GCC that this is a whole run, and how hot the hottest arc was in it. */
export function encodeUnit({ version, stamp, functions }: Unit, hottest: bigint): Buffer {
  const words: number[] = [MAGIC, version, stamp, 0, TAG_SUMMARY, 8, 1, Number(hottest > 0xffffffffn ? 0xffffffffn : hottest)];
  for (const { ident, lineChecksum, cfgChecksum, arcs } of functions) {
    words.push(TAG_FUNCTION, 12, ident, lineChecksum, cfgChecksum, TAG_ARCS, arcs.length * 8);
    for (const count of arcs) words.push(Number(count & 0xffffffffn), Number(count >> 32n));
  }
  const bytes = Buffer.alloc(words.length * 4);
  for (const [index, word] of words.entries()) bytes.writeUInt32LE(word, index * 4);
  return bytes;
}

export const hottestArc = (units: Units): bigint => {
  let most = 0n;
  for (const { functions } of units.values()) for (const { arcs } of functions) for (const count of arcs) if (count > most) most = count;
  return most;
};
