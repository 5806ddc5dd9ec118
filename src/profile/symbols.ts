// SPDX-License-Identifier: MIT
/** From addresses in the guest to names. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Elf, readElf } from '../elf/elf.js';
import { filesOf } from '../image/extract.js';
import { exec } from '../lib/exec.js';
import { makeScratch } from '../lib/scratch.js';
import type { Image } from '../model/index.js';
import { parseAddress } from './profiler.js';

interface Symbol {
  readonly address: number;
  /** 0 if the file does not say. */
  readonly size: number;
  readonly name: string;
}

/** The functions of one ELF file, by address. */
export class SymbolTable {
  readonly #symbols: readonly Symbol[];

  constructor(symbols: readonly Symbol[]) {
    this.#symbols = [...symbols].sort((a, b) => a.address - b.address);
  }

  /** The function that an address is in; parts that the compiler split off (foo.cold) are the function's. */
  find(address: number): string | undefined {
    let low = 0;
    let high = this.#symbols.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#symbols[middle]?.address ?? Infinity) <= address) low = middle + 1;
      else high = middle;
    }
    const symbol = this.#symbols[low - 1];
    if (symbol === undefined || (symbol.size > 0 && address >= symbol.address + symbol.size)) return undefined;
    return symbol.name.replace(/(\.(cold|part|isra|constprop)(\.\d+)?)+$/, '');
  }
}

/** "0000000000401020 0000000000000026 T main", as nm -S prints it. */
export function parseNm(output: string): Symbol[] {
  return [...output.matchAll(/^([0-9a-f]{8,16}) (?:([0-9a-f]{8,16}) )?[tTwWiuV] (.+)$/gm)].map(([, address = '0', size = '0', name = '']) => ({
    address: parseAddress(address),
    size: Number.parseInt(size, 16),
    name: name.replace(/@.*$/, ''),
  }));
}

async function nm(path: string, ...options: string[]): Promise<Symbol[]> {
  return parseNm(await exec('nm', ['-S', '-C', '--defined-only', ...options, path]).catch(() => ''));
}

/**
 * What the plugin must know of a kernel: where tasks are switched, begin and get
 * another program, where interrupts enter (arch/x86/include/asm/idtentry.h names them so), and
 * what indirect calls go by.
 */
export async function kernelLandmarks(
  vmlinux: string,
): Promise<{ readonly switch: string; readonly interrupts: string; readonly forget: string; readonly thunks: string }> {
  const symbols = await exec('nm', ['-S', vmlinux]);
  const ranges = (name: string): string =>
    [...symbols.matchAll(new RegExp(`^([0-9a-f]{16}) ([0-9a-f]{16}) [tT] ${name}`, 'gm'))].map(([, start, size]) => `${start}+${size}`).join(':');
  const address = (name: string): string => new RegExp(`^([0-9a-f]{16}) (?:[0-9a-f]{16} )?[tT] ${name}$`, 'm').exec(symbols)?.[1] ?? '0';
  return {
    switch: address('__switch_to'),
    interrupts: ranges('asm_(?:sysvec_|common_interrupt|spurious_interrupt)'),
    forget: ['ret_from_fork_asm', 'begin_new_exec'].map(address).join(':'),
    thunks: ranges('__x86_indirect_(?:(?:call|jump|its)_)?thunk_array$'),
  };
}

/** Of a stripped file, what it exports. */
async function symbolsOf(path: string): Promise<SymbolTable> {
  const all = await nm(path);
  return new SymbolTable(all.length > 0 ? all : await nm(path, '-D'));
}

/** A file's executable part in a program's memory. */
export interface Mapping {
  readonly start: number;
  readonly end: number;
  /** Of the first byte in the file. */
  readonly offset: number;
  readonly path: string;
}

/** "555555554000-555555560000 r-xp 00002000 00:02 1234   /usr/bin/x" (proc(5)). */
export function parseMaps(lines: readonly string[]): Mapping[] {
  return lines.flatMap((line) => {
    const match = /^([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) \S+ \d+ *(.*)$/.exec(line);
    if (!match) return [];
    const [, start = '', end = '', offset = '', path = ''] = match;
    return [{ start: parseAddress(start), end: parseAddress(end), offset: Number.parseInt(offset, 16), path }];
  });
}

export interface Place {
  readonly name: string;
  /** "kernel", or the file's name. */
  readonly object: string;
}

const KERNEL: string = 'kernel';

export const isKernel = ({ object }: Place): boolean => object === KERNEL;

interface File {
  readonly symbols: SymbolTable;
  readonly segments: Elf['segments'];
}

/** Where the image's init runs (src/guest/programs.ts). */
const INIT = { start: 0x20000000, end: 0x30000000 } as const;
/** The plugin's mark of what ran before the kernel: firmware, our loader, what unpacks the kernel. */
const UNPACKING = 2 ** 48;

/** Where the kernel loads what can be anywhere, without ASLR: ELF_ET_DYN_BASE in arch/x86/include/asm/elf.h. */
const DYN_BASE = 0x555555554000;

/** A program's own segment, for a program that was over before anybody had seen it. */
function asLoaded(path: string, type: Elf['type'], { address, offset, fileSize }: Elf['segments'][number]): Mapping {
  const start = address + (type === 'shared' ? DYN_BASE : 0);
  return { start, end: start + fileSize, offset, path };
}

/** Names for the addresses of one guest: its kernel's, and its program's. */
export class Symbols {
  readonly #kernel: SymbolTable;
  readonly #files: ReadonlyMap<string, File>;
  readonly #maps: readonly Mapping[];
  readonly #known = new Map<number, Place>();

  private constructor(kernel: SymbolTable, files: ReadonlyMap<string, File>, maps: readonly Mapping[]) {
    this.#kernel = kernel;
    this.#files = files;
    this.#maps = maps;
  }

  /** Reads the symbols of the kernel and of what `maps` names, from the image. */
  static async read(image: Image, vmlinux: string, maps: readonly Mapping[]): Promise<Symbols> {
    const { program } = image.manifest;
    const wanted = new Set([program, ...maps.map(({ path }) => path)]);
    const files = new Map<string, File>();
    const mappings = [...maps];
    await using scratch = await makeScratch('symbols');
    for await (const { path, data } of filesOf(image, (name) => wanted.has(name))) {
      const copy = join(scratch.path, 'file');
      await writeFile(copy, data);
      const elf = await readElf(copy).catch(() => undefined);
      if (!elf) continue;
      // What was stripped for the image may have its symbols here still, at the same addresses.
      const onHost = path === program && image.host !== undefined && existsSync(image.host.program);
      files.set(path, { symbols: await symbolsOf(onHost && image.host !== undefined ? image.host.program : copy), segments: elf.segments });
      if (path === program && !maps.some((mapping) => mapping.path === program))
        mappings.push(...elf.segments.map((segment) => asLoaded(path, elf.type, segment)));
    }
    return new Symbols(await symbolsOf(vmlinux), files, mappings);
  }

  place(address: number): Place {
    const known = this.#known.get(address);
    if (known !== undefined) return known;
    const place = address < 0 ? this.#inKernel(address) : this.#inProgram(address);
    this.#known.set(address, place);
    return place;
  }

  #inKernel(address: number): Place {
    return { name: this.#kernel.find(address) ?? '[module]', object: KERNEL };
  }

  #inProgram(address: number): Place {
    if (address >= UNPACKING) return { name: '[loader]', object: 'loader' };
    if (address >= INIT.start && address < INIT.end) return { name: '[init]', object: 'init' };
    const mapping = this.#maps.find(({ start, end }) => address >= start && address < end);
    if (mapping === undefined) return { name: '[unknown]', object: 'unknown' };
    if (mapping.path === '') return { name: '[generated code]', object: 'generated code' };
    const object = basename(mapping.path);
    const file = this.#files.get(mapping.path);
    const offset = address - mapping.start + mapping.offset;
    const segment = file?.segments.find((one) => offset >= one.offset && offset < one.offset + one.fileSize);
    const name = segment === undefined ? undefined : file?.symbols.find(segment.address + offset - segment.offset);
    return { name: name ?? (object.startsWith('[') ? object : `[${object}]`), object };
  }
}
