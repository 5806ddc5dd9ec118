// SPDX-License-Identifier: MIT
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { bzImagePrefix } from '../containers/bzimage.js';
import { pvhPrefix } from '../containers/pvh.js';
import { encodeSpec, type GuestNetwork } from '../guest/spec.js';
import { UklError } from '../lib/errors.js';
import type { App, Image, ImageFormat, ImageManifest, Kernel, Loaders, Ring, RunDefaults } from '../model/index.js';
import { canonicalGuestPath, writeInitramfs } from './initramfs.js';

/** An image ends with its manifest, the manifest's length and this. */
const MAGIC = 'UKLIMAGE';
const TRAILER_BYTES = 16;
/** A manifest lists every file; it has never been near this. */
const MANIFEST_MAX = 64 * 1024 ** 2;

/** As many programs as ukl.c in the series takes. */
const RING0_MAX = 16;

/** What the image itself tells its kernel: which programs run in ring 0 is said here and nowhere else. */
function imageCmdline(ring0: readonly string[], kernelArgs: readonly string[]): string {
  const words = ['console=ttyS0', 'quiet', 'rdinit=/.ukl/init', 'reboot=t', 'panic=-1'];
  for (const program of ring0) {
    if (/[\s,"]/.test(program)) {
      throw new UklError('UKL_USAGE', `${program} cannot be named on the kernel's command line`, { hint: 'a path without blanks, commas and quotes' });
    }
  }
  if (ring0.length > RING0_MAX) throw new UklError('UKL_USAGE', `${ring0.length} programs for ring 0; ${RING0_MAX} are possible`);
  if (ring0.length > 0) words.push(`ukl=${ring0.join(',')}`);
  return [...words, ...kernelArgs].join(' ');
}

/**
 * Puts kernel and program together, in one file that boots by itself. It
 * appears under its path only when it is complete.
 */
export async function writeImage(
  path: string,
  parts: {
    readonly app: App;
    readonly kernel: Kernel;
    readonly loaders: Loaders;
    readonly init: string;
    /** Kernel modules that init loads, in this order, before the program starts. */
    readonly modules: readonly string[];
    /** Of the program. */
    readonly ring: Ring;
    /** Further programs for ring 0, by their paths in the guest. */
    readonly ring0: readonly string[];
    /** Further words for the kernel. */
    readonly kernelArgs: readonly string[];
    readonly format: ImageFormat;
    /** What the image goes by when nobody tells it another. */
    readonly network: GuestNetwork;
    readonly run: RunDefaults;
  },
): Promise<Image> {
  const { app, kernel, loaders, init, modules, ring, format, run } = parts;
  const program = canonicalGuestPath(app.guest);
  const ring0 = [...new Set([...(ring === 0 ? [program] : []), ...parts.ring0.map(canonicalGuestPath)])];
  if (ring0.length > 0 && kernel.flavour !== 'ukl') {
    throw new UklError('UKL_USAGE', 'the stock kernel runs programs in ring 3 only', { hint: 'add --ring 3, or leave --kernel stock out' });
  }
  const partial = `${resolve(path)}.partial-${process.pid}`;
  const archive = `${partial}.initramfs`;
  await mkdir(dirname(partial), { recursive: true });
  try {
    const spec = encodeSpec({
      exec: program,
      argv: [...run.command, ...run.args],
      hostname: app.name.slice(0, 63),
      network: parts.network,
      disks: run.disks.map(({ path: at }, index) => ({ serial: `ukl${index}`, path: at })),
      volumes: run.volumes.map(({ path: at }, index) => ({ tag: `ukl${index}`, path: at })),
      run,
    });
    const initramfs = await writeInitramfs(archive, [
      ...app.files,
      { guest: '/.ukl/init', kind: 'file', host: init, mode: 0o755 },
      ...modules.map((host, index) => ({ guest: `/.ukl/modules/${index}`, kind: 'file' as const, host, mode: 0o600 })),
      { guest: '/.ukl/spec', kind: 'data', data: spec, mode: 0o600 },
    ]);
    const missing = ring0.filter((path) => !initramfs.files.some((file) => file.path === path));
    if (missing.length > 0) throw new UklError('UKL_NO_FILE', `the image has no ${missing.join(', ')} to run in ring 0`, { hint: `--file HOST:${missing[0]}` });
    const cmdline = imageCmdline(ring0, parts.kernelArgs);
    const manifest: ImageManifest = {
      format: 4,
      boot: format,
      name: app.name,
      ring,
      ring0,
      program,
      programOnHost: app.host,
      cmdline,
      kernel: {
        flavour: kernel.flavour,
        version: kernel.version,
        sha256: kernel.hashes[format === 'elf' ? 'vmlinux' : 'bzImage'] ?? '',
        bytes: 0,
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
    const prefix =
      format === 'elf'
        ? pvhPrefix(await readFile(kernel.vmlinux), await readFile(loaders.pvh), cmdline, initramfs.bytes)
        : bzImagePrefix(await readFile(kernel.bzImage), await readFile(loaders.bzImage), cmdline, initramfs.bytes);
    const complete = { ...manifest, kernel: { ...manifest.kernel, bytes: prefix.length } };
    const text = Buffer.from(JSON.stringify(complete));
    const trailer = Buffer.alloc(TRAILER_BYTES);
    trailer.writeBigUInt64LE(BigInt(text.length), 0);
    trailer.write(MAGIC, 8, 'latin1');

    const out = createWriteStream(partial);
    out.write(prefix);
    await pipeline(createReadStream(archive), out, { end: false });
    await new Promise<void>((done, failed) => {
      out.once('error', failed);
      out.end(Buffer.concat([text, trailer]), done);
    });
    await rm(path, { recursive: true, force: true });
    await rename(partial, path);
    return { path: resolve(path), manifest: complete };
  } finally {
    await rm(partial, { force: true });
    await rm(archive, { force: true });
  }
}

/** The manifest at a file's end, if there is one. */
async function readManifest(path: string): Promise<ImageManifest | undefined> {
  const file = await open(path, 'r').catch(() => undefined);
  if (!file) return undefined;
  try {
    const info = await file.stat();
    if (!info.isFile() || info.size < TRAILER_BYTES) return undefined;
    const trailer = Buffer.alloc(TRAILER_BYTES);
    await file.read(trailer, 0, TRAILER_BYTES, info.size - TRAILER_BYTES);
    const length = Number(trailer.readBigUInt64LE(0));
    if (trailer.toString('latin1', 8) !== MAGIC || length > Math.min(MANIFEST_MAX, info.size - TRAILER_BYTES)) return undefined;
    const text = Buffer.alloc(length);
    await file.read(text, 0, length, info.size - TRAILER_BYTES - length);
    return JSON.parse(text.toString()) as ImageManifest;
  } finally {
    await file.close();
  }
}

export async function isImage(path: string): Promise<boolean> {
  return (await readManifest(path)) !== undefined;
}

/** Reads an image that `ukl build` wrote. Throws UKL_IMAGE. */
export async function openImage(path: string): Promise<Image> {
  const manifest = await readManifest(path);
  if (manifest === undefined) {
    throw new UklError('UKL_IMAGE', `${path} is not an image`, { hint: `ukl build TARGET -o ${basename(path)}` });
  }
  if (manifest.format !== 4) {
    throw new UklError('UKL_IMAGE', `${path} has format ${String(manifest.format)}, this ukl reads format 4`, { hint: 'build it again' });
  }
  return { path: resolve(path), manifest };
}
