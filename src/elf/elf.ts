// SPDX-License-Identifier: MIT
import { type FileHandle, open } from 'node:fs/promises';
import { errnoOf, UklError } from '../lib/errors.js';
import {
  EHDR_BYTES,
  fileHeader,
  hasMagic,
  notesIn,
  PHDR_BYTES,
  type ProgramHeader,
  PT_DYNAMIC,
  PT_INTERP,
  PT_LOAD,
  PT_NOTE,
  programHeaders,
} from './headers.js';

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

const ET_EXEC = 2;
const ET_DYN = 3;
const EM_X86_64 = 62;
/** Notes and the interpreter's name have never been near this. */
const SHORT_BYTES = 4096;

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

async function firstBytes(path: string, length: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    return await readAt(file, 0, length);
  } finally {
    await file.close();
  }
}

/** Whether a file begins as every ELF file does. */
export const isElf = async (path: string): Promise<boolean> => hasMagic(await firstBytes(path, 4));

/** Whether a file begins with "#!". */
export const isScript = async (path: string): Promise<boolean> => (await firstBytes(path, 2)).toString('latin1') === '#!';

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
    const start = await readAt(file, 0, EHDR_BYTES);
    if (start.length < 20 || !hasMagic(start)) {
      throw new UklError('UKL_NOT_ELF', `${path} is not an ELF file`, {
        hint: 'ukl runs C files, ELF programs, and directories with a ukl.config.ts or ukl.config.json',
      });
    }
    const machine = start.readUInt16LE(18);
    if (start[4] !== 2 || start[5] !== 1 || machine !== EM_X86_64 || start.length < EHDR_BYTES) {
      const what = start[4] === 1 && machine === EM_X86_64 ? 'x32' : (MACHINES[machine] ?? `machine ${machine}`);
      throw new UklError('UKL_WRONG_ARCH', `${path} is a program for ${what}; ukl runs 64-bit x86 programs`, {
        hint: 'build it for x86-64 (gcc -m64), or install the amd64 package',
      });
    }
    const header = fileHeader(start);
    const table = await readAt(file, header.offset, header.entryBytes * header.count);
    if (header.entryBytes < PHDR_BYTES || table.length < header.entryBytes * header.count) {
      throw new UklError('UKL_NOT_ELF', `${path} is a truncated ELF file`);
    }
    const segments = programHeaders(table, header);
    const read = ({ offset, fileBytes }: ProgramHeader): Promise<Buffer> => readAt(file, offset, Math.min(fileBytes, SHORT_BYTES));
    const loaded = segments.filter(({ type }) => type === PT_LOAD);
    const interpreter = segments.find(({ type }) => type === PT_INTERP);
    let marked = false;
    for (const segment of segments.filter(({ type }) => type === PT_NOTE)) {
      marked ||= [...notesIn(await read(segment))].some(({ owner }) => owner === 'ukl');
    }
    return {
      type: header.type === ET_EXEC ? 'executable' : header.type === ET_DYN ? 'shared' : 'other',
      interpreter: interpreter === undefined ? undefined : (await read(interpreter)).toString().replace(/\0.*$/s, ''),
      dynamic: segments.some(({ type }) => type === PT_DYNAMIC),
      loadBytes: loaded.reduce((sum, { memoryBytes }) => sum + Number(memoryBytes), 0),
      marked,
      entry: header.entry,
      segments: loaded.map(({ offset, virtual, fileBytes }) => ({ offset, address: Number(virtual), fileSize: fileBytes })),
    };
  } finally {
    await file.close();
  }
}
