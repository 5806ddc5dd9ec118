// SPDX-License-Identifier: MIT
/** FAT file systems, which firmware reads: by mtools, without mounting anything. */
import { mkdir, open, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import type { Requirement } from '../model/index.js';

export const requirements: readonly Requirement[] = [{ package: 'mtools', why: 'makes the FAT file systems that firmware boots from', file: '/usr/bin/mcopy' }];

/** Files by their paths in the file system: what is on this host. */
export type Tree = Readonly<Record<string, string>>;

const MIB = 2 ** 20;
/** FAT32 has at least 65,525 clusters (Microsoft's FAT specification, 3.5): 33 MiB of one sector each. */
const LEAST = 34 * MIB;
/** What is not the files' own: tables, directories, the rest of clusters. */
const overhead = (bytes: number): number => Math.ceil(bytes / 64) + 2 * MIB;

/** FAT counts a file's bytes in 32 bits (3.1). */
const MOST = 2 ** 32 - 1;

/** The bytes that a tree's file system takes, whole megabytes. Throws UKL_USAGE for a file that FAT has no room for. */
export async function fatBytes(tree: Tree): Promise<number> {
  let bytes = 0;
  for (const file of Object.values(tree)) {
    const { size } = await stat(file);
    if (size > MOST)
      throw new UklError('UKL_USAGE', 'the files of the image are more than 4 GiB, which no FAT file system takes, and UEFI reads no other', {
        hint: 'fewer files in the image; what is large belongs on a disk of its own (data)',
      });
    bytes += size;
  }
  return Math.ceil(Math.max(LEAST, bytes + overhead(bytes)) / MIB) * MIB;
}

/** FAT begins to count in 1980. */
const EPOCH = new Date('1980-01-01T00:00:00Z');

export interface FatOptions {
  /** Where the file system begins in the file. */
  readonly offset: number;
  /** Where it begins on the disk that it is for, in bytes. */
  readonly hidden: number;
  readonly bytes: number;
  readonly label: string;
  readonly log: string;
  readonly signal: AbortSignal | undefined;
}

/** Makes a file system with the tree in a file, which is made if it is not there. Throws UKL_COMMAND. */
export async function writeFat(file: string, tree: Tree, { offset, hidden, bytes, label, log, signal }: FatOptions): Promise<void> {
  const handle = await open(file, 'a');
  const { size } = await handle.stat();
  if (size < offset + bytes) await handle.truncate(offset + bytes);
  await handle.close();
  const image = `${file}@@${offset}`;
  const options = { log, signal, env: { SOURCE_DATE_EPOCH: String(EPOCH.getTime() / 1000), TZ: 'UTC', MTOOLS_SKIP_CHECK: '1' } };
  const SECTOR = 512;
  await exec(
    'mformat',
    ['-i', image, '-F', '-v', label, '-N', '554b4c00', '-T', String(bytes / SECTOR), '-h', '64', '-s', '32', '-H', String(hidden / SECTOR), '::'],
    options,
  );
  const made = new Set<string>();
  for (const [path, from] of Object.entries(tree)) {
    const parts = dirname(path)
      .split('/')
      .filter((part) => part !== '' && part !== '.');
    for (let depth = 1; depth <= parts.length; depth++) {
      const directory = parts.slice(0, depth).join('/');
      if (made.has(directory)) continue;
      made.add(directory);
      await exec('mmd', ['-i', image, `::/${directory}`], options);
    }
    await exec('mcopy', ['-i', image, '-m', from, `::/${path}`], options);
  }
}

/** Copies with a fixed time: mcopy -m takes the file's. */
export async function stamped(from: string, work: string, name: string): Promise<string> {
  const to = join(work, name);
  await mkdir(dirname(to), { recursive: true });
  await exec('cp', ['--reflink=auto', from, to]);
  await utimes(to, EPOCH, EPOCH);
  return to;
}
