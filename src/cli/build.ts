// SPDX-License-Identifier: MIT
import { relative } from 'node:path';
import { build } from '../build/build.js';
import { UklError } from '../lib/errors.js';
import { formatSize } from '../lib/size.js';
import { EXIT } from '../model/exit-status.js';
import type { Image } from '../model/index.js';
import { findReference } from '../oci/reference.js';
import { commandLoad, optimize } from '../optimize/optimize.js';
import type { BuildOptions } from '../options/given.js';
import { describeFit, type GlobalOptions, printJson } from './output.js';

export type BuildFlags = GlobalOptions & {
  readonly optimize?: boolean;
  readonly load?: string;
};

function make(target: string, options: BuildOptions, { optimize: optimized, load }: BuildFlags): Promise<Image> {
  if (optimized && load !== undefined) return optimize(target, commandLoad(load), options);
  if (!optimized && load === undefined) return build(target, options);
  throw new UklError('UKL_USAGE', optimized ? '--optimize needs a load to optimise for' : '--load is for --optimize', {
    hint: "--optimize --load 'wrk -d 5 http://127.0.0.1:$PORT/'",
  });
}

/** `ukl build`: writes an image. */
export async function buildCommand(target: string, options: BuildOptions, flags: BuildFlags): Promise<number> {
  const { manifest, path } = await make(target, options, flags);
  if (flags.json) {
    printJson({ ok: true, image: path, manifest });
  } else if (!flags.quiet) {
    // A package is named by where it is, and what.
    const shown = findReference(path) === undefined ? relative(process.cwd(), path) || '.' : path;
    const { kernel, initramfs, ring, root } = manifest;
    const filesBytes = root?.bytes ?? initramfs.bytes;
    const next = manifest.container === 'update' ? `/.ukl/update ${shown}, in the guest` : `ukl run ${shown}`;
    for (const line of describeFit(kernel.fit)) process.stdout.write(`${line}\n`);
    process.stdout.write(
      `${shown}: ${formatSize(kernel.bytes + filesBytes)} (kernel ${formatSize(kernel.bytes)}, ${initramfs.files} files ${formatSize(filesBytes)}), ring ${ring}\nnext: ${next}\n`,
    );
  }
  return EXIT.ok;
}
