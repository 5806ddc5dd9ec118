// SPDX-License-Identifier: MIT
/** The tables of an ELF file, as elf(5) names and lays them out. */

export const EHDR_BYTES = 64;
export const PHDR_BYTES = 56;
export const PT_LOAD = 1;
export const PT_DYNAMIC = 2;
export const PT_INTERP = 3;
export const PT_NOTE = 4;
const MAGIC = 0x7f454c46;

export interface FileHeader {
  readonly class: number;
  readonly byteOrder: number;
  readonly type: number;
  readonly machine: number;
  readonly entry: bigint;
  /** Of the program headers. */
  readonly offset: number;
  readonly entryBytes: number;
  readonly count: number;
}

export interface ProgramHeader {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly virtual: bigint;
  readonly physical: bigint;
  readonly fileBytes: number;
  readonly memoryBytes: bigint;
}

export interface Note {
  readonly owner: string;
  readonly type: number;
  readonly description: Buffer;
}

export const hasMagic = (start: Buffer): boolean => start.length >= 4 && start.readUInt32BE(0) === MAGIC;

/** The header of a 64-bit little-endian file, whatever its class and order say. */
export function fileHeader(start: Buffer): FileHeader {
  return {
    class: start.readUInt8(4),
    byteOrder: start.readUInt8(5),
    type: start.readUInt16LE(16),
    machine: start.readUInt16LE(18),
    entry: start.readBigUInt64LE(24),
    offset: Number(start.readBigUInt64LE(32)),
    entryBytes: start.readUInt16LE(54),
    count: start.readUInt16LE(56),
  };
}

/** The program headers in their table. */
export function programHeaders(table: Buffer, { entryBytes, count }: Pick<FileHeader, 'entryBytes' | 'count'>): readonly ProgramHeader[] {
  return Array.from({ length: count }, (_, index) => {
    const at = index * entryBytes;
    return {
      type: table.readUInt32LE(at),
      flags: table.readUInt32LE(at + 4),
      offset: Number(table.readBigUInt64LE(at + 8)),
      virtual: table.readBigUInt64LE(at + 16),
      physical: table.readBigUInt64LE(at + 24),
      fileBytes: Number(table.readBigUInt64LE(at + 32)),
      memoryBytes: table.readBigUInt64LE(at + 40),
    };
  });
}

const aligned = (bytes: number): number => (bytes + 3) & ~3;

/** The notes in a segment of type PT_NOTE; one that is cut off is left out. */
export function* notesIn(segment: Buffer): Generator<Note> {
  for (let at = 0; at + 12 <= segment.length; ) {
    const ownerBytes = segment.readUInt32LE(at);
    const descriptionBytes = segment.readUInt32LE(at + 4);
    const description = at + 12 + aligned(ownerBytes);
    if (description + descriptionBytes > segment.length) return;
    yield {
      owner: segment.toString('latin1', at + 12, at + 12 + ownerBytes).replace(/\0$/, ''),
      type: segment.readUInt32LE(at + 8),
      description: segment.subarray(description, description + descriptionBytes),
    };
    at = description + aligned(descriptionBytes);
  }
}
