// SPDX-License-Identifier: MIT
import { relative } from 'node:path';
import { formatSize } from '../lib/size.js';
import type { ImageFormat } from '../model/index.js';
import { type BuildOptions, build } from '../sdk/index.js';
import { EXIT } from './exit-status.js';
import { type GlobalOptions, logFor, printJson } from './output.js';

/** Flags of all commands that make an image. */
export interface BuildFlags extends GlobalOptions {
  readonly file?: string[];
  readonly kernel?: 'ukl' | 'stock';
  readonly ring?: 0 | 3;
  readonly ring0?: string[];
  readonly libc?: 'ukl' | 'host';
  readonly check: boolean;
  readonly kernelSource?: string;
  readonly kernelConfig?: string;
}

export function toBuildOptions(flags: BuildFlags, signal: AbortSignal): BuildOptions {
  return {
    log: logFor(flags),
    signal,
    files: flags.file ?? [],
    ring0: flags.ring0 ?? [],
    ...(flags.kernel === undefined ? {} : { kernel: flags.kernel }),
    ...(flags.ring === undefined ? {} : { ring: flags.ring }),
    ...(flags.libc === undefined ? {} : { libc: flags.libc }),
    ...(flags.check ? {} : { check: false }),
    ...(flags.kernelSource === undefined ? {} : { kernelSource: flags.kernelSource }),
    ...(flags.kernelConfig === undefined ? {} : { kernelConfig: flags.kernelConfig }),
  };
}

/** `ukl build`: writes an image. */
export async function buildCommand(
  target: string,
  flags: BuildFlags & { readonly out?: string; readonly format: ImageFormat },
  signal: AbortSignal,
): Promise<number> {
  const image = await build(target, { ...toBuildOptions(flags, signal), format: flags.format, ...(flags.out === undefined ? {} : { out: flags.out }) });
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
