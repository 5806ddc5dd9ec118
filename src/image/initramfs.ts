// SPDX-License-Identifier: MIT
import { createHash } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname, posix } from 'node:path';
import { align, PAGE } from '../lib/align.js';
import { UklError } from '../lib/errors.js';
import type { App, GuestFile } from '../model/index.js';
import { aligned, cpioHeader, cpioTrailer, MAX_FILE_BYTES, padding, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } from './cpio.js';
import { ETC } from './etc.js';

export interface PackedFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface Initramfs {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Sum of the files' sizes in whole pages: what tmpfs takes of the memory. */
  readonly unpackedBytes: number;
  /** How much of it a kernel that can leaves where the archive has it. */
  readonly inPlaceBytes: number;
  readonly files: readonly PackedFile[];
}

/** Files from here on begin at a page, so that the kernel need not copy them. The gap before a smaller one would be larger than what it saves. */
const IN_PLACE_MIN = 4 * PAGE;

/** Directories that every guest has; a program may rely on /tmp and /run. */
const SKELETON: readonly GuestFile[] = [
  { guest: '/dev', kind: 'directory', mode: 0o755 },
  { guest: '/proc', kind: 'directory', mode: 0o555 },
  { guest: '/sys', kind: 'directory', mode: 0o555 },
  { guest: '/tmp', kind: 'directory', mode: 0o1777 },
  { guest: '/root', kind: 'directory', mode: 0o700 },
  { guest: '/run', kind: 'directory', mode: 0o755 },
  { guest: '/var/tmp', kind: 'directory', mode: 0o1777 },
  { guest: '/var/run', kind: 'symlink', target: '/run' },
  { guest: '/bin', kind: 'symlink', target: 'usr/bin' },
  { guest: '/sbin', kind: 'symlink', target: 'usr/sbin' },
  { guest: '/lib', kind: 'symlink', target: 'usr/lib' },
  { guest: '/lib64', kind: 'symlink', target: 'usr/lib64' },
  { guest: '/usr/bin', kind: 'directory', mode: 0o755 },
  { guest: '/usr/sbin', kind: 'directory', mode: 0o755 },
  { guest: '/usr/lib', kind: 'directory', mode: 0o755 },
  { guest: '/usr/lib64', kind: 'directory', mode: 0o755 },
];

const MERGED = /^\/(bin|sbin|lib|lib64)\//;

/** Where a path really is, with /bin, /sbin, /lib and /lib64 below /usr. */
export function canonicalGuestPath(path: string): string {
  const normal = posix.normalize(path);
  return MERGED.test(normal) ? `/usr${normal}` : normal;
}

/** A path as the image has it: one of a root file system that is there already stays. */
export const imagePath = (path: string, wholeRoot: boolean | undefined): string => (wholeRoot ? posix.normalize(path) : canonicalGuestPath(path));

/** What our init and a container's program rely on, if the root file system lacks it. */
const PLACES: readonly GuestFile[] = [
  { guest: '/dev', kind: 'directory', mode: 0o755 },
  { guest: '/proc', kind: 'directory', mode: 0o555 },
  { guest: '/sys', kind: 'directory', mode: 0o555 },
  { guest: '/etc', kind: 'directory', mode: 0o755 },
  ...ETC.filter(({ guest }) => guest === '/etc/hosts'),
];

async function copyInto(target: FileHandle, host: string, take: (chunk: Buffer) => void, expected: number): Promise<void> {
  const source = await open(host, 'r');
  try {
    let copied = 0;
    for await (const chunk of source.createReadStream({ autoClose: false, highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
      take(chunk);
      await target.write(chunk);
      copied += chunk.length;
    }
    if (copied !== expected) {
      throw new UklError('UKL_NO_FILE', `${host} changed while it was being packed`, { hint: 'run the same command again' });
    }
  } finally {
    await source.close();
  }
}

/** The names that each file has, by any of them. */
function linksOf(tree: ReadonlyMap<string, GuestFile>): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, string[]>();
  for (const [guest, file] of tree) {
    if (file.kind !== 'hardlink') continue;
    const all = names.get(file.target) ?? [file.target];
    all.push(guest);
    for (const name of all) names.set(name, all);
  }
  return names;
}

/**
 * Writes an initramfs with the given files, the skeleton unless they are a whole root
 * file system, and the directories that lead to each file. Later files replace earlier
 * ones of the same path.
 */
export async function writeInitramfs(
  path: string,
  files: readonly GuestFile[],
  { wholeRoot, signal }: Pick<App, 'wholeRoot'> & { readonly signal?: AbortSignal | undefined } = {},
): Promise<Initramfs> {
  const tree = new Map<string, GuestFile>();
  const add = (file: GuestFile): void => {
    const guest = imagePath(file.guest, wholeRoot);
    // /bin/bash as a link to /usr/bin/bash would take the place of what it leads to.
    if (file.kind === 'symlink' && !wholeRoot && canonicalGuestPath(file.target) === guest) return;
    for (let parent = dirname(guest); parent !== '/'; parent = dirname(parent)) {
      if (!tree.has(parent)) tree.set(parent, { guest: parent, kind: 'directory', mode: 0o755 });
    }
    tree.set(guest, { ...file, guest });
  };
  for (const file of [...(wholeRoot ? PLACES : [...SKELETON, ...ETC]), ...files]) add(file);
  const links = linksOf(tree);
  const inodes = new Map<readonly string[], { readonly inode: number; readonly packed: PackedFile }>();

  const packed: PackedFile[] = [];
  const total = createHash('sha256');
  let bytes = 0;
  let unpackedBytes = 0;
  let inPlaceBytes = 0;
  const output = await open(path, 'w');
  try {
    let inode = 1;
    const emit = async (chunk: Buffer): Promise<void> => {
      total.update(chunk);
      bytes += chunk.length;
      await output.write(chunk);
    };
    // Sorted by path: parents come first, and the result is reproducible.
    for (const guest of [...tree.keys()].sort()) {
      signal?.throwIfAborted();
      // A root file system has its own owner and mode.
      const name = guest.slice(1) || '.';
      const names = links.get(guest);
      const file = tree.get(names?.[0] ?? guest);
      if (file === undefined || file.kind === 'hardlink' || (names !== undefined && file.kind !== 'file' && file.kind !== 'data')) {
        throw new UklError('UKL_IMAGE', `${guest} is another name of ${names?.[0]}, which is no file`, { hint: 'build it again' });
      }
      const owner = { uid: file.uid ?? 0, gid: file.gid ?? 0 };
      if (file.kind === 'directory') {
        await emit(cpioHeader({ path: name, mode: S_IFDIR | file.mode, length: 0, ...owner }, inode++));
      } else if (file.kind === 'symlink') {
        const target = Buffer.from(file.target);
        await emit(cpioHeader({ path: name, mode: S_IFLNK | 0o777, length: target.length, ...owner }, inode++));
        await emit(Buffer.concat([target, padding(target.length)]));
      } else if (file.kind === 'device') {
        await emit(cpioHeader({ path: name, mode: S_IFCHR | file.mode, length: 0, device: [file.major, file.minor], ...owner }, inode++));
      } else {
        const known = names === undefined ? undefined : inodes.get(names);
        const header = { path: name, mode: S_IFREG | file.mode, links: names?.length ?? 1, ...owner };
        if (known !== undefined) {
          // The content came with the first name.
          await emit(cpioHeader({ ...header, length: 0 }, known.inode));
          packed.push({ ...known.packed, path: guest });
          continue;
        }
        const length = file.kind === 'data' ? file.data.length : (await stat(file.host)).size;
        if (length > MAX_FILE_BYTES) {
          throw new UklError('UKL_IMAGE', `${guest} is larger than 4 GiB, more than an initramfs can hold`, { hint: 'put it on a --disk' });
        }
        const { before, nameBytes } = length < IN_PLACE_MIN ? { before: 0, nameBytes: 0 } : aligned(name, bytes, PAGE);
        await emit(Buffer.alloc(before));
        await emit(cpioHeader({ ...header, length }, inode, nameBytes));
        if (length >= IN_PLACE_MIN) inPlaceBytes += length - (length % PAGE);
        const hash = createHash('sha256');
        if (file.kind === 'data') {
          hash.update(file.data);
          await emit(Buffer.from(file.data));
        } else {
          await copyInto(
            output,
            file.host,
            (chunk) => {
              signal?.throwIfAborted();
              hash.update(chunk);
              total.update(chunk);
            },
            length,
          );
          bytes += length;
        }
        await emit(padding(length));
        unpackedBytes += align(length, PAGE);
        const one = { path: guest, bytes: length, sha256: hash.digest('hex') };
        packed.push(one);
        if (names !== undefined) inodes.set(names, { inode, packed: one });
        inode++;
      }
    }
    await emit(cpioTrailer());
  } finally {
    await output.close();
  }
  return { path, bytes, sha256: total.digest('hex'), unpackedBytes, inPlaceBytes, files: packed };
}
