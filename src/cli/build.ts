// SPDX-License-Identifier: MIT
import { relative } from 'node:path';
import { build } from '../build/build.js';
import { formatSize } from '../lib/size.js';
import { EXIT } from '../model/exit-status.js';
import type { BuildOptions } from '../options/given.js';
import { type GlobalOptions, printJson } from './output.js';

/** `ukl build`: writes an image. */
export async function buildCommand(target: string, options: BuildOptions, flags: GlobalOptions): Promise<number> {
  const { manifest, path } = await build(target, options);
  if (flags.json) {
    printJson({ ok: true, image: path, manifest });
  } else if (!flags.quiet) {
    const shown = relative(process.cwd(), path) || '.';
    const { kernel, initramfs, ring } = manifest;
    process.stdout.write(
      `${shown}: ${formatSize(kernel.bytes + initramfs.bytes)} (kernel ${formatSize(kernel.bytes)}, ${initramfs.files} files ${formatSize(initramfs.bytes)}), ring ${ring}\nnext: ukl run ${shown}\n`,
    );
  }
  return EXIT.ok;
}
