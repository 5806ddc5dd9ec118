// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { App, Image, ImageManifest, Kernel, Ring, RunDefaults } from '../artifacts.js';
import { UklError } from '../lib/errors.js';
import { canonicalGuestPath, writeInitramfs } from './initramfs.js';

const MANIFEST = 'manifest.json';

/**
 * Puts kernel and program together. The image appears under its path only
 * when it is complete.
 */
export async function writeImage(
  path: string,
  parts: { readonly app: App; readonly kernel: Kernel; readonly init: string; readonly ring: Ring; readonly run: RunDefaults },
): Promise<Image> {
  const { app, kernel, init, ring, run } = parts;
  if (ring === 0 && kernel.flavour !== 'ukl') {
    throw new UklError('UKL_USAGE', 'the stock kernel runs programs in ring 3 only', { hint: 'add --ring 3, or leave --kernel stock out' });
  }
  const partial = `${resolve(path)}.partial-${process.pid}`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  try {
    const initramfs = await writeInitramfs(join(partial, 'initramfs'), [
      ...app.files,
      { guest: '/.ukl/init', kind: 'file', host: init, mode: 0o755 },
    ]);
    await copyFile(kernel.bzImage, join(partial, 'kernel'));
    const manifest: ImageManifest = {
      format: 1,
      name: app.name,
      ring,
      program: canonicalGuestPath(app.guest),
      programOnHost: app.host,
      kernel: {
        flavour: kernel.flavour,
        version: kernel.version,
        sha256: kernel.hashes.bzImage ?? '',
        bytes: (await readFile(kernel.bzImage)).length,
      },
      initramfs: {
        sha256: initramfs.sha256,
        bytes: initramfs.bytes,
        files: initramfs.files.length,
        unpackedBytes: initramfs.unpackedBytes,
      },
      files: initramfs.files,
      run,
    };
    await writeFile(join(partial, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
    await rm(path, { recursive: true, force: true });
    await rename(partial, path);
    return { path: resolve(path), manifest };
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}

export function isImage(path: string): boolean {
  return existsSync(join(path, MANIFEST)) && existsSync(join(path, 'initramfs'));
}

/** Reads an image that `ukl build` wrote. Throws UKL_IMAGE. */
export async function openImage(path: string): Promise<Image> {
  if (!isImage(path)) {
    throw new UklError('UKL_IMAGE', `${path} is not an image`, { hint: `ukl build TARGET -o ${basename(path)}` });
  }
  const manifest = JSON.parse(await readFile(join(path, MANIFEST), 'utf8')) as ImageManifest;
  if (manifest.format !== 1) {
    throw new UklError('UKL_IMAGE', `${path} has format ${String(manifest.format)}, this ukl reads format 1`, { hint: 'build it again' });
  }
  return { path: resolve(path), manifest };
}
