// SPDX-License-Identifier: MIT
import { align } from '../lib/align.js';

/**
 * The cpio "newc" format, as the kernel's init/initramfs.c unpacks it (see
 * Documentation/driver-api/early-userspace/buffer-format.rst). Inode numbers
 * count up, times are zero: the same files give the same bytes.
 */
export interface CpioEntry {
  /** Without a leading slash. */
  readonly path: string;
  /** File type and permissions, as st_mode. */
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
  /** How many names the inode has, if more than one: each is an entry, and the first one of a file has the content. */
  readonly links?: number;
  /** Length in bytes of the content that follows the header. */
  readonly length: number;
  /** Of a device: major and minor number. */
  readonly device?: readonly [number, number];
}

export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFCHR = 0o020000;

/** What a header begins with. */
export const MAGIC = '070701';
/** Bytes of a header without its name: the magic, and 13 fields of 8 hex digits. */
export const HEADER = 110;
/** Headers, content and padding are all multiples of this many bytes. */
export const ALIGN = 4;
/** A newc header holds sizes as eight hex digits. */
export const MAX_FILE_BYTES = 0xffff_ffff;

export function padding(length: number): Buffer {
  return Buffer.alloc(align(length, ALIGN) - length);
}

/**
 * The header of one entry, padded; content and padding(length) come next.
 * Readers take a name up to its first zero: `nameBytes`, if it is more, places
 * the content.
 */
export function cpioHeader(entry: CpioEntry, inode: number, nameBytes = 0): Buffer {
  const plain = `${entry.path}\0`;
  const name = plain + '\0'.repeat(Math.max(0, nameBytes - Buffer.byteLength(plain)));
  const fields = [
    inode,
    entry.mode,
    entry.uid ?? 0,
    entry.gid ?? 0,
    (entry.mode & 0o170000) === S_IFDIR ? 2 : (entry.links ?? 1),
    0, // mtime
    entry.length,
    0, // device major, minor
    0,
    ...(entry.device ?? [0, 0]), // rdev major, minor
    Buffer.byteLength(name),
    0, // no checksum in this variant
  ];
  const header = Buffer.from(`${MAGIC}${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}`);
  return Buffer.concat([header, padding(header.length)]);
}

/** What a name may have, with its zeros. */
const PATH_MAX = 4096;

/**
 * Where an entry's content begins at a multiple of `to` if zeros precede its
 * header, which readers skip, and follow its name.
 */
export function aligned(path: string, at: number, to: number): { readonly before: number; readonly nameBytes: number } {
  const least = HEADER + Buffer.byteLength(path) + 1;
  const gap = align(at + least, to) - (at + least);
  if (least - HEADER + gap <= PATH_MAX) return { before: 0, nameBytes: least - HEADER + gap };
  return { before: gap & ~(ALIGN - 1), nameBytes: least - HEADER + (gap % ALIGN) };
}

/** What ends an archive. The kernel goes on with a further one behind it. */
export function cpioTrailer(): Buffer {
  return cpioHeader({ path: 'TRAILER!!!', mode: 0, length: 0 }, 0);
}
