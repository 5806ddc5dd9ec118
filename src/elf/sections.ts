// SPDX-License-Identifier: MIT
import { exec } from '../lib/exec.js';

/** A section of an ELF file that takes memory. */
export interface Section {
  readonly name: string;
  readonly bytes: number;
  /** In hex: the kernel's are beyond what a number holds exactly. */
  readonly address: string;
}

/** The allocated sections of an ELF file, as size(1) lists them. Throws UKL_COMMAND. */
export async function readSections(path: string): Promise<Section[]> {
  const listing = await exec('size', ['-A', '-x', path]);
  return [...listing.matchAll(/^(\S+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)$/gm)]
    .map(([, name = '', bytes = '0', address = '0']) => ({ name, bytes: Number.parseInt(bytes, 16), address: `0x${address}` }))
    .filter(({ address, bytes }) => address !== '0x0' && bytes > 0);
}
