// SPDX-License-Identifier: MIT
/** A machine's memory and the state of its devices, on their way between QEMU and files. */
import { open, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { UklError } from '../../lib/errors.js';
import { hashFileOnce, hashValue } from '../../lib/hash.js';
import { findInPath } from '../../lib/which.js';
import type { Accel } from '../../model/index.js';
import { QEMU } from './args.js';
import type { Qmp } from './qmp.js';

/** In the machine's directory. */
const SOCKET = 'state';

/** Memory above this begins at 4 GiB (hw/i386/microvm.c of QEMU). */
const LOW_BYTES = 3 * 1024 ** 3;
const HIGH_ADDRESS = 4 * 1024 ** 3;

/** How much QEMU writes at once, so that it stays in the processor's caches; what is copied of it is what is not zero, in pages. */
const PART_BYTES = 4 * 1024 ** 2;
const PAGE_BYTES = 4096;
const ZEROS = Buffer.alloc(PAGE_BYTES);

const isZero = (part: Buffer, at: number): boolean => part.compare(ZEROS, 0, PAGE_BYTES, at, at + PAGE_BYTES) === 0;

async function readAll(file: string, data: Buffer, size: number): Promise<void> {
  const from = await open(file, 'r');
  try {
    for (let at = 0; at < size; ) {
      const { bytesRead } = await from.read(data, at, size - at, at);
      if (bytesRead === 0) throw new UklError('UKL_VMM', `QEMU wrote ${at} bytes of memory, not ${size}`);
      at += bytesRead;
    }
  } finally {
    await from.close();
  }
}

/**
 * Writes the memory of a machine that stands still to a file, in which zeros are holes.
 *
 * @throws UKL_VMM if QEMU cannot, the system's error if the file cannot be written
 */
export async function saveMemory(qmp: Qmp, bytes: number, file: string): Promise<void> {
  const part = `${file}.part`;
  const data = Buffer.allocUnsafeSlow(PART_BYTES);
  const to = await open(file, 'w', 0o600);
  try {
    await to.truncate(bytes);
    for (let at = 0; at < bytes; ) {
      const size = Math.min(PART_BYTES, bytes - at, at < LOW_BYTES ? LOW_BYTES - at : PART_BYTES);
      await qmp.savePhysical(at < LOW_BYTES ? at : at - LOW_BYTES + HIGH_ADDRESS, size, part);
      await readAll(part, data, size);
      for (let begin = 0; begin < size; ) {
        let end = begin;
        while (end < size && !isZero(data, end)) end += PAGE_BYTES;
        if (end > begin) await to.write(data, begin, end - begin, at + begin);
        begin = end + PAGE_BYTES;
      }
      at += size;
    }
  } finally {
    await to.close();
    await rm(part, { force: true });
  }
}

/**
 * Writes the state of the devices, without the memory. The command is Xen's by its name alone: it is
 * the only one of QEMU's that leaves memory out which is no file.
 */
export const saveState = (qmp: Qmp, file: string): Promise<unknown> => qmp.execute('xen-save-devices-state', { filename: file, live: false });

/** Has a machine that waits, with its memory in place, take such a state. It comes as a migration does. */
export async function loadState(qmp: Qmp, directory: string, file: string): Promise<void> {
  const path = join(directory, SOCKET);
  const state = await readFile(file);
  await qmp.migrateIncoming(path, () => {
    // QEMU closes it once it has all, and says itself how that went.
    connect(path)
      .on('error', () => {})
      .end(state);
  });
}

/** What only that QEMU, and with KVM only that processor, goes on with. */
export async function identity(accel: Accel): Promise<Readonly<Record<string, string>>> {
  const qemu = findInPath(QEMU);
  const program = { QEMU: qemu === undefined ? '' : await hashFileOnce(qemu) };
  if (accel === 'tcg') return program;
  const cpuinfo = await readFile('/proc/cpuinfo', 'utf8');
  return { ...program, processor: hashValue([/^model name.*$/m, /^microcode.*$/m, /^flags.*$/m].map((line) => line.exec(cpuinfo)?.[0])) };
}
