// SPDX-License-Identifier: MIT
import { type FileHandle, open } from 'node:fs/promises';
import { UklError } from '../lib/errors.js';
import type { Image } from '../model/index.js';

/** A cpio header of the "newc" format: 6 bytes of magic, 13 fields of 8 hex digits (initramfs-buffer-format.rst). */
const HEADER = 110;
const align = (n: number): number => (n + 3) & ~3;

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  if (bytesRead < length) throw new UklError('UKL_IMAGE', 'the image ends in the middle of a file', { hint: 'build it again' });
  return buffer;
}

/** The regular files of an image's initramfs for which `wanted` is true, one after another. */
export async function* filesOf(image: Image, wanted: (path: string) => boolean): AsyncGenerator<{ readonly path: string; readonly data: Buffer }> {
  const file = await open(image.path, 'r');
  try {
    const start = image.manifest.kernel.bytes;
    for (let at = start; at < start + image.manifest.initramfs.bytes; ) {
      const header = (await readAt(file, at, HEADER)).toString('latin1');
      if (!header.startsWith('070701')) throw new UklError('UKL_IMAGE', `the image is damaged at byte ${at}`, { hint: 'build it again' });
      const field = (index: number): number => Number.parseInt(header.slice(6 + 8 * index, 14 + 8 * index), 16);
      const size = field(6);
      const nameSize = field(11);
      const name = (await readAt(file, at + HEADER, nameSize - 1)).toString();
      if (name === 'TRAILER!!!') return;
      const data = start + align(at - start + HEADER + nameSize);
      const path = `/${name}`;
      if ((field(1) & 0o170000) === 0o100000 && wanted(path)) yield { path, data: await readAt(file, data, size) };
      at = start + align(data - start + size);
    }
  } finally {
    await file.close();
  }
}
