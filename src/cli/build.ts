// SPDX-License-Identifier: MIT
import { relative } from 'node:path';
import { build } from '../index.js';
import { formatSize } from '../lib/size.js';
import { type GlobalOptions, logFor, printJson } from './output.js';
import { EXIT } from './exit-codes.js';

export interface BuildFlags extends GlobalOptions {
  readonly out?: string;
  readonly file?: string[];
  readonly kernel?: 'ukl' | 'stock';
  readonly ring?: 0 | 3;
  readonly ring0?: string[];
  readonly libc?: 'ukl' | 'host';
  readonly check: boolean;
  readonly format: 'bzImage' | 'elf';
  readonly kernelSource?: string;
  readonly kernelConfig?: string;
}

/** `ukl build`: writes an image. */
export async function buildCommand(target: string, flags: BuildFlags, signal: AbortSignal): Promise<number> {
  const image = await build(target, {
    log: logFor(flags),
    signal,
    files: flags.file ?? [],
    ring0: flags.ring0 ?? [],
    format: flags.format,
    ...(flags.out === undefined ? {} : { out: flags.out }),
    ...(flags.kernel === undefined ? {} : { kernel: flags.kernel }),
    ...(flags.ring === undefined ? {} : { ring: flags.ring }),
    ...(flags.libc === undefined ? {} : { libc: flags.libc }),
    ...(flags.check ? {} : { check: false }),
    ...(flags.kernelSource === undefined ? {} : { kernelSource: flags.kernelSource }),
    ...(flags.kernelConfig === undefined ? {} : { kernelConfig: flags.kernelConfig }),
  });
  const { manifest, path } = image;
  if (flags.json) {
    printJson({ ok: true, image: path, manifest });
  } else if (!flags.quiet) {
    const shown = relative(process.cwd(), path) || '.';
    process.stdout.write(
      `${shown}: ${formatSize(manifest.kernel.bytes + manifest.initramfs.bytes)} (kernel ${formatSize(manifest.kernel.bytes)}, ${manifest.initramfs.files} files ${formatSize(manifest.initramfs.bytes)}), ring ${manifest.ring}\nnext: ukl run ${shown}\n`,
    );
  }
  return EXIT.ok;
}
