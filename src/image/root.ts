// SPDX-License-Identifier: MIT
/**
 * A root file system on a disk: SQUASHFS, read-only, of which the kernel checks each block
 * that it reads (dm-verity). The sum of all is on the kernel's command line, so whoever
 * writes to the disk changes no code that runs in ring 0.
 */
import { stat, truncate } from 'node:fs/promises';
import type { RootPart } from '../containers/container.js';
import { uuidOf } from '../containers/slots.js';
import { align, PAGE } from '../lib/align.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import type { Requirement } from '../model/index.js';

export const requirements: readonly Requirement[] = [
  { package: 'libarchive-tools', why: "hands an image's files on to sqfstar", file: '/usr/bin/bsdtar' },
  { package: 'squashfs-tools', why: 'makes read-only root file systems', file: '/usr/bin/sqfstar' },
  { package: 'cryptsetup-bin', why: 'makes the sums that the kernel checks blocks by', file: '/sbin/veritysetup' },
];

export interface Root extends RootPart {
  /** What the kernel is told, for it to find the file system and to check it. */
  readonly words: readonly string[];
}

/** Makes the file system of an initramfs' files at `out`, its sums behind it. Throws UKL_COMMAND. */
export async function writeRoot(archive: string, out: string, log: string, signal: AbortSignal | undefined): Promise<Root> {
  const pipe = 'set -o pipefail; bsdtar --format=pax -cf - "@$0" | sqfstar -comp zstd -mkfs-time 0 -root-mode 755 -root-time 0 -quiet -no-progress "$1"';
  await exec('bash', ['-c', pipe, archive, out], { log, signal });
  const data = align((await stat(out)).size, PAGE);
  await truncate(out, data);
  const blocks = data / PAGE;
  const words = ['format', '--no-superblock', '--salt', '-', '--data-blocks', String(blocks), '--hash-offset', String(data), out, out];
  const said = await exec('/sbin/veritysetup', words, { log, signal });
  const sum = /^Root hash:\s+([0-9a-f]{64})$/m.exec(said)?.[1];
  if (sum === undefined) throw new UklError('UKL_COMMAND', 'veritysetup said no sum', { log });
  const bytes = align((await stat(out)).size, PAGE);
  await truncate(out, bytes);
  const uuid = uuidOf('root', sum);
  const partition = `PARTUUID=${uuid}`;
  const SECTOR = 512;
  return {
    ...{ file: out, bytes, uuid },
    // Documentation/admin-guide/device-mapper/{dm-init,verity}.rst: blocks of data, and the first one of sums.
    words: [
      `dm-mod.waitfor=${partition}`,
      `dm-mod.create="root,,,ro,0 ${data / SECTOR} verity 1 ${partition} ${partition} ${PAGE} ${PAGE} ${blocks} ${blocks} sha256 ${sum} -"`,
      ...['root=/dev/dm-0', 'ro', 'rootfstype=squashfs'],
    ],
  };
}
