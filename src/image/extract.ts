// SPDX-License-Identifier: MIT
import { createReadStream, createWriteStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { align } from '../lib/align.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import { makeScratch } from '../lib/scratch.js';
import type { Image } from '../model/index.js';
import { ALIGN, HEADER, MAGIC } from './cpio.js';

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  if (bytesRead < length) throw new UklError('UKL_IMAGE', 'the image ends in the middle of a file', { hint: 'build it again' });
  return buffer;
}

/** Where an image's archive is as it was before compression. */
async function archiveOf({ path, manifest }: Image, scratch: string): Promise<{ readonly path: string; readonly start: number; readonly bytes: number }> {
  const { kernel, initramfs } = manifest;
  if (initramfs.compression === 'none') return { path, start: kernel.bytes, bytes: initramfs.bytes };
  const packed = join(scratch, 'archive.xz');
  await pipeline(createReadStream(path, { start: kernel.bytes, end: kernel.bytes + initramfs.bytes - 1 }), createWriteStream(packed));
  await exec('xz', ['--decompress', packed], { errorCode: 'UKL_IMAGE' });
  const unpacked = join(scratch, 'archive');
  return { path: unpacked, start: 0, bytes: (await stat(unpacked)).size };
}

/** The regular files of an image's initramfs for which `wanted` is true, one after another. */
export async function* filesOf(image: Image, wanted: (path: string) => boolean): AsyncGenerator<{ readonly path: string; readonly data: Buffer }> {
  await using scratch = await makeScratch('archive');
  const { path: archive, start, bytes } = await archiveOf(image, scratch.path);
  const file = await open(archive, 'r');
  try {
    for (let at = start; at < start + bytes; ) {
      const header = (await readAt(file, at, HEADER)).toString('latin1');
      const zeros = header.search(/[^\0]/) & ~(ALIGN - 1);
      if (zeros !== 0) {
        at += zeros < 0 ? HEADER & ~(ALIGN - 1) : zeros;
        continue;
      }
      if (!header.startsWith(MAGIC)) throw new UklError('UKL_IMAGE', `the image is damaged at byte ${at}`, { hint: 'build it again' });
      const field = (index: number): number => Number.parseInt(header.slice(6 + 8 * index, 14 + 8 * index), 16);
      const size = field(6);
      const nameSize = field(11);
      const name = (await readAt(file, at + HEADER, nameSize - 1)).toString().replace(/\0.*$/s, '');
      if (name === 'TRAILER!!!') return;
      const data = start + align(at - start + HEADER + nameSize, ALIGN);
      const path = `/${name}`;
      if ((field(1) & 0o170000) === 0o100000 && wanted(path)) yield { path, data: await readAt(file, data, size) };
      at = start + align(data - start + size, ALIGN);
    }
  } finally {
    await file.close();
  }
}
