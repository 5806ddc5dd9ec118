// SPDX-License-Identifier: MIT
import { open, rename, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import type { Disk, Requirement } from '../model/index.js';

/** What makes the file systems of new disks. */
export const requirements: readonly Requirement[] = [{ package: 'e2fsprogs', why: 'makes the ext4 file systems of new disks', file: '/sbin/mkfs.ext4' }];

/** A sparse file: what is not used takes no space on the host. */
const NEW_DISK_BYTES = 1024 ** 3;

/** The parts of "FILE:/path". Throws UKL_USAGE. */
export function splitDisk(text: string): Disk {
  const colon = text.lastIndexOf(':');
  const path = text.slice(colon + 1);
  if (colon < 1 || !path.startsWith('/') || path === '/') {
    throw new UklError('UKL_USAGE', `expected a disk as FILE:/path, for example data.img:/data, got '${text}'`);
  }
  return { file: text.slice(0, colon), path };
}

/** A disk with its file as an absolute path. */
export const parseDisk = (text: string, relativeTo = process.cwd()): Disk => resolveDisk(splitDisk(text), relativeTo);

export const resolveDisk = (disk: Disk, relativeTo: string): Disk => ({ ...disk, file: resolve(relativeTo, disk.file) });

/** Makes the image file with an empty ext4 file system, if it is not there yet. */
export async function ensureDisk(disk: Disk): Promise<void> {
  const info = await stat(disk.file).catch(() => undefined);
  if (info?.isFile()) {
    const file = await open(disk.file, 'r');
    const superblock = Buffer.alloc(2);
    // s_magic of the ext4 superblock: Documentation/filesystems/ext4/super.rst
    await file.read(superblock, 0, 2, 1024 + 0x38);
    await file.close();
    if (superblock.readUInt16LE(0) !== 0xef53) {
      throw new UklError('UKL_DISK', `${disk.file} does not hold an ext4 file system`, {
        hint: `mkfs.ext4 ${disk.file} (destroys its content)`,
      });
    }
    return;
  }
  if (info) throw new UklError('UKL_DISK', `${disk.file} is not a file`);
  const partial = `${disk.file}.partial-${process.pid}`;
  try {
    const file = await open(partial, 'wx');
    await file.truncate(NEW_DISK_BYTES);
    await file.close();
    await exec('/sbin/mkfs.ext4', ['-q', '-F', partial], { errorCode: 'UKL_DISK' });
    await rename(partial, disk.file);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
