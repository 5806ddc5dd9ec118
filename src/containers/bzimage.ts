// SPDX-License-Identifier: MIT
import { readFile } from 'node:fs/promises';
import { align, PAGE } from '../lib/align.js';
import { UklError } from '../lib/errors.js';
import type { KernelContainer } from './container.js';

/** Offsets in a bzImage's setup header: Documentation/arch/x86/boot.rst. */
const SETUP_SECTS = 0x1f1;
const HEADER_MAGIC = 0x202;
const CODE32_START = 0x214;
const HDR_S = 0x53726448;
const SECTOR = 512;

/** The loader's table is its last words; boot/bzimage.S. */
const TABLE_BYTES = 12;
/** The kernel cuts what is longer (COMMAND_LINE_SIZE, arch/x86/include/asm/setup.h). */
export const CMDLINE_MAX = 2047;

/** A command line as the loaders want it: NUL-terminated. */
export function cmdlineBytes(cmdline: string): Buffer {
  const bytes = Buffer.from(`${cmdline}\0`);
  if (bytes.length > CMDLINE_MAX) throw new UklError('UKL_USAGE', `the kernel's command line has ${bytes.length} bytes; ${CMDLINE_MAX} are possible`);
  return bytes;
}

/**
 * All of a bzImage that carries an initramfs but the initramfs itself, which
 * goes right behind it. The kernel is not changed but for the address that its
 * setup code jumps to: the loader's.
 */
export function bzImagePrefix(kernel: Buffer, loader: Buffer, cmdline: string, initramfsBytes: number): Buffer {
  if (kernel.readUInt32LE(HEADER_MAGIC) !== HDR_S) throw new UklError('UKL_IMAGE', 'the kernel is not a bzImage');
  const setup = ((kernel[SETUP_SECTS] || 4) + 1) * SECTOR;
  const words = cmdlineBytes(cmdline);
  const body = align(kernel.length - setup, 16);
  // The kernel gives the initramfs' memory back by pages.
  const stub = align(body + loader.length + words.length, PAGE) - body;
  const image = Buffer.alloc(setup + body + stub);
  kernel.copy(image);
  image.writeUInt32LE(kernel.readUInt32LE(CODE32_START) + body, CODE32_START);
  loader.copy(image, setup + body);
  words.copy(image, setup + body + loader.length);
  const table = setup + body + loader.length - TABLE_BYTES;
  image.writeUInt32LE(body, table);
  image.writeUInt32LE(stub, table + 4);
  image.writeUInt32LE(initramfsBytes, table + 8);
  return image;
}

export const bzImage: KernelContainer = {
  kind: 'kernel',
  name: 'bzImage',
  title: 'a bzImage, for any boot loader',
  requirements: [],
  boot: 'linux',
  carries: 'bzImage',
  loader: 'bzimage.S',
  prefix: async ({ kernel, loader, cmdline, initramfsBytes }) => bzImagePrefix(await readFile(kernel.bzImage), loader, cmdline, initramfsBytes),
};
