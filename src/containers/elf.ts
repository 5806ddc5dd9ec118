// SPDX-License-Identifier: MIT
import { readFile } from 'node:fs/promises';
import { EHDR_BYTES, fileHeader, notesIn, PHDR_BYTES, PT_LOAD, PT_NOTE, programHeaders } from '../elf/headers.js';
import { align, PAGE } from '../lib/align.js';
import { UklError } from '../lib/errors.js';
import { CMDLINE_MAX, cmdlineBytes } from './bzimage.js';
import type { KernelContainer } from './container.js';

/** The PVH entry's note: include/xen/interface/elfnote.h. */
const XEN_ELFNOTE_PHYS32_ENTRY = 18;

/** The loader's table is its last words, its address in the first instruction; boot/pvh.S. */
const TABLE_BYTES = 36;
const ADDRESS_AT = 1;

interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly virtual: bigint;
  readonly physical: bigint;
  readonly data: Buffer;
  readonly memory: bigint;
}

function segmentsOf(elf: Buffer): Segment[] {
  const header = fileHeader(elf);
  return programHeaders(elf.subarray(header.offset), header).map(({ offset, fileBytes, memoryBytes, ...segment }) => ({
    ...segment,
    data: elf.subarray(offset, offset + fileBytes),
    memory: memoryBytes,
  }));
}

/** Where a kernel wants to be entered in 32-bit mode. */
function pvhEntry(segments: readonly Segment[]): number {
  for (const { data } of segments.filter(({ type }) => type === PT_NOTE)) {
    for (const { owner, type, description } of notesIn(data)) {
      if (type === XEN_ELFNOTE_PHYS32_ENTRY && owner === 'Xen') return description.readUInt32LE(0);
    }
  }
  throw new UklError('UKL_IMAGE', 'the kernel has no PVH entry');
}

/**
 * All of an ELF image with a PVH entry but the initramfs, its last segment,
 * which goes right behind it. The kernel's segments are as in vmlinux.
 */
export function pvhPrefix(vmlinux: Buffer, loader: Buffer, cmdline: string, initramfsBytes: number): Buffer {
  const segments = segmentsOf(vmlinux);
  const kernel = segments.filter(({ type }) => type === PT_LOAD);
  const end = kernel.reduce((max, { physical, memory }) => (physical + memory > max ? physical + memory : max), 0n);
  const base = align(Number(end), PAGE);

  const words = cmdlineBytes(cmdline);
  // Room for what the VMM adds.
  const stub = Buffer.alloc(align(loader.length + 2 * (CMDLINE_MAX + 1), PAGE));
  loader.copy(stub);
  words.copy(stub, loader.length);
  stub.writeUInt32LE(base, ADDRESS_AT);
  const table = loader.length - TABLE_BYTES;
  const initramfs = base + stub.length;
  stub.writeBigUInt64LE(BigInt(initramfs), table);
  stub.writeBigUInt64LE(BigInt(initramfsBytes), table + 8);
  stub.writeUInt32LE(pvhEntry(segments), table + 32);

  const note = Buffer.alloc(24);
  note.writeUInt32LE(4, 0);
  note.writeUInt32LE(8, 4);
  note.writeUInt32LE(XEN_ELFNOTE_PHYS32_ENTRY, 8);
  note.write('Xen\0', 12, 'latin1');
  note.writeBigUInt64LE(BigInt(base), 16);

  const physical = (address: number, data: Buffer, memory = data.length, type = PT_LOAD): Segment => ({
    type,
    flags: 7,
    virtual: BigInt(address),
    physical: BigInt(address),
    data,
    memory: BigInt(memory),
  });
  const all = [...kernel, physical(0, note, note.length, PT_NOTE), physical(base, stub)];
  const head = align(EHDR_BYTES + (all.length + 1) * PHDR_BYTES, 16);
  const parts: Buffer[] = [Buffer.alloc(head)];
  const header = parts[0] as Buffer;
  vmlinux.copy(header, 0, 0, EHDR_BYTES);
  header.writeBigUInt64LE(BigInt(EHDR_BYTES), 32); // program headers
  header.writeBigUInt64LE(0n, 40); // no sections
  header.writeUInt16LE(all.length + 1, 56);
  header.fill(0, 58, 64);

  let at = head;
  const place = (segment: Segment, index: number, bytes: number): void => {
    const p = EHDR_BYTES + index * PHDR_BYTES;
    header.writeUInt32LE(segment.type, p);
    header.writeUInt32LE(segment.flags, p + 4);
    header.writeBigUInt64LE(BigInt(at), p + 8);
    header.writeBigUInt64LE(segment.virtual, p + 16);
    header.writeBigUInt64LE(segment.physical, p + 24);
    header.writeBigUInt64LE(BigInt(bytes), p + 32);
    header.writeBigUInt64LE(segment.memory, p + 40);
    // QEMU takes a note's alignment from here.
    header.writeBigUInt64LE(segment.type === PT_NOTE ? 4n : 16n, p + 48);
  };
  all.forEach((segment, index) => {
    place(segment, index, segment.data.length);
    parts.push(segment.data);
    const gap = align(at + segment.data.length, 16) - (at + segment.data.length);
    if (gap > 0) parts.push(Buffer.alloc(gap));
    at += segment.data.length + gap;
  });
  place(physical(initramfs, Buffer.alloc(0), initramfsBytes), all.length, initramfsBytes);
  return Buffer.concat(parts);
}

export const elf: KernelContainer = {
  kind: 'kernel',
  name: 'elf',
  title: 'an ELF with a PVH entry, for microVMs: nothing to decompress, no KASLR',
  requirements: [],
  boot: 'pvh',
  carries: 'vmlinux',
  loader: 'pvh.S',
  prefix: async ({ kernel, loader, cmdline, initramfsBytes }) => pvhPrefix(await readFile(kernel.vmlinux), loader, cmdline, initramfsBytes),
};
