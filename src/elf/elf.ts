// SPDX-License-Identifier: MIT
import { type FileHandle, open } from 'node:fs/promises';
import { errnoOf, UklError } from '../lib/errors.js';

/** The parts of an ELF file that decide how it is run. Names as in elf(5). */
export interface Elf {
  readonly type: 'executable' | 'shared' | 'other';
  /** PT_INTERP: the dynamic loader; undefined for a static program. */
  readonly interpreter: string | undefined;
  /** DT_NEEDED and friends exist. */
  readonly dynamic: boolean;
  /** Sum of the PT_LOAD segments, in bytes of memory. */
  readonly loadBytes: number;
  /** ukl-gcc linked it: it has the note that src/libc/glibc.ts describes. */
  readonly marked: boolean;
  readonly entry: bigint;
  /** The PT_LOAD segments: which part of the file is mapped where. */
  readonly segments: readonly { readonly offset: number; readonly address: number; readonly fileSize: number }[];
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const PT_NOTE = 4;
const EM_X86_64 = 62;

const MACHINES: Readonly<Record<number, string>> = {
  3: '32-bit x86',
  8: 'MIPS',
  20: 'PowerPC',
  21: '64-bit PowerPC',
  22: 's390',
  40: '32-bit ARM',
  183: '64-bit ARM',
  243: 'RISC-V',
  258: 'LoongArch',
};

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** Whether a note segment has one of the given owner. The layout: elf(5), "Notes". */
function hasNote(notes: Buffer, owner: string): boolean {
  const align = (n: number): number => (n + 3) & ~3;
  for (let at = 0; at + 12 <= notes.length; ) {
    const nameSize = notes.readUInt32LE(at);
    const descSize = notes.readUInt32LE(at + 4);
    if (notes.toString('latin1', at + 12, at + 12 + nameSize) === `${owner}\0`) return true;
    at += 12 + align(nameSize) + align(descSize);
  }
  return false;
}

/** Whether a file begins as every ELF file does. */
export async function isElf(path: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const magic = await readAt(file, 0, 4);
    return magic.length === 4 && magic.readUInt32BE(0) === 0x7f454c46;
  } finally {
    await file.close();
  }
}

/**
 * Reads the headers of an x86-64 ELF file.
 *
 * @throws UKL_NO_TARGET, UKL_NOT_ELF, UKL_WRONG_ARCH
 */
export async function readElf(path: string): Promise<Elf> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw new UklError('UKL_NO_TARGET', `could not open ${path}: ${errnoOf(error) === 'ENOENT' ? 'no such file' : errnoOf(error)}`, {
      cause: error,
    });
  });
  try {
    const header = await readAt(file, 0, 64);
    if (header.length < 20 || header.readUInt32BE(0) !== 0x7f454c46) {
      throw new UklError('UKL_NOT_ELF', `${path} is not an ELF file`, {
        hint: 'ukl runs C files, ELF programs, and directories with a ukl.config.ts or ukl.config.json',
      });
    }
    const machine = header.readUInt16LE(18);
    if (header[4] !== 2 || header[5] !== 1 || machine !== EM_X86_64 || header.length < 64) {
      const what = header[4] === 1 && machine === EM_X86_64 ? 'x32' : (MACHINES[machine] ?? `machine ${machine}`);
      throw new UklError('UKL_WRONG_ARCH', `${path} is a program for ${what}; ukl runs 64-bit x86 programs`, {
        hint: 'build it for x86-64 (gcc -m64), or install the amd64 package',
      });
    }
    const phoff = Number(header.readBigUInt64LE(32));
    const phentsize = header.readUInt16LE(54);
    const phnum = header.readUInt16LE(56);
    const table = await readAt(file, phoff, phentsize * phnum);
    if (phentsize < 56 || table.length < phentsize * phnum) {
      throw new UklError('UKL_NOT_ELF', `${path} is a truncated ELF file`);
    }
    let interpreter: string | undefined;
    let dynamic = false;
    let loadBytes = 0;
    let marked = false;
    const segments: { offset: number; address: number; fileSize: number }[] = [];
    for (let at = 0; at < table.length; at += phentsize) {
      const type = table.readUInt32LE(at);
      const offset = Number(table.readBigUInt64LE(at + 8));
      const fileSize = Number(table.readBigUInt64LE(at + 32));
      if (type === PT_LOAD) {
        loadBytes += Number(table.readBigUInt64LE(at + 40));
        segments.push({ offset, address: Number(table.readBigUInt64LE(at + 16)), fileSize });
      }
      if (type === PT_DYNAMIC) dynamic = true;
      if (type === PT_NOTE && hasNote(await readAt(file, offset, Math.min(fileSize, 4096)), 'ukl')) marked = true;
      if (type === PT_INTERP) {
        interpreter = (await readAt(file, offset, Math.min(fileSize, 4096))).toString().replace(/\0.*$/s, '');
      }
    }
    const kind = header.readUInt16LE(16);
    return {
      type: kind === 2 ? 'executable' : kind === 3 ? 'shared' : 'other',
      interpreter,
      dynamic,
      loadBytes,
      marked,
      entry: header.readBigUInt64LE(24),
      segments,
    };
  } finally {
    await file.close();
  }
}
