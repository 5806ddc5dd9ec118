// SPDX-License-Identifier: MIT
import { createReadStream, createWriteStream } from 'node:fs';
import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { cmdlineBytes } from '../containers/bzimage.js';
import type { ImageContainer, Signer } from '../containers/container.js';
import { certificateOf, diskUuid, guidBytes } from '../containers/slots.js';
import { isElf } from '../elf/elf.js';
import { encodeSpec, hostnameOf } from '../guest/spec.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import { hashFile, hashFileOnce } from '../lib/hash.js';
import { storeRoot } from '../lib/paths.js';
import { makeScratch } from '../lib/scratch.js';
import { imageHost, imageManifest } from '../model/image.js';
import type { App, GuestFile, Image, ImageHost, ImageManifest, Kernel, Network, Ring, RunDefaults } from '../model/index.js';
import { isSmall } from '../model/kernel.js';
import { imagePath, writeInitramfs } from './initramfs.js';
import { kmainFiles, kmainWords } from './kmain.js';
import { writeRoot } from './root.js';

/** An image ends with its manifest, the manifest's length and this. */
const MAGIC = 'UKLIMAGE';
const TRAILER_BYTES = 16;
/** A manifest lists every file; it has never been near this. */
const MANIFEST_MAX = 64 * 1024 ** 2;

/** Of a machine that nobody has said anything about. */
const USUAL_MIB = 512;

/** As many programs as ukl.c in the series takes. */
const RING0_MAX = 16;

/** What the image itself tells its kernel: which programs run in ring 0 is said here and nowhere else. */
function imageCmdline(
  start: readonly string[],
  ring0: readonly string[],
  libraries: readonly string[],
  kernelArgs: readonly string[],
  kind: ImageContainer['kind'],
): string {
  // A VMM is told all else by the tool. A machine with a firmware has its own way to reset, and somebody may want to read its last words.
  const usual = kind === 'kernel' ? ['console=ttyS0', 'reboot=t', 'panic=-1'] : ['console=tty0', 'console=ttyS0,115200', 'panic=10', 'UKL_TRANSPORT=auto'];
  const words = [...usual, ...start];
  for (const program of [...ring0, ...libraries]) {
    if (/[\s,"]/.test(program)) {
      throw new UklError('UKL_USAGE', `${program} cannot be named on the kernel's command line`, { hint: 'a path without blanks, commas and quotes' });
    }
  }
  if (ring0.length > RING0_MAX) throw new UklError('UKL_USAGE', `${ring0.length} programs for ring 0; ${RING0_MAX} are possible`);
  if (ring0.length > 0) words.push(`ukl=${[...ring0, ...libraries].join(',')}`);
  const cmdline = [...words, ...kernelArgs].join(' ');
  // A boot loader's configuration has a line for it.
  if (/[\n\r]/.test(cmdline)) throw new UklError('UKL_USAGE', "the kernel's command line has one line", { hint: 'kernelArgs without line ends' });
  cmdlineBytes(cmdline);
  return cmdline;
}

export interface ImageParts {
  readonly app: App;
  readonly runtime: ImageManifest['runtime'];
  readonly kernel: Kernel;
  /** What a kernel that was fitted has and lacks. */
  readonly fit?: ImageManifest['kernel']['fit'];
  readonly container: ImageContainer;
  /** The code between kernel and initramfs, of a container that has some. */
  readonly loader: Buffer | undefined;
  /** Where the files are while the image runs; on a disk only of a container that has partitions. */
  readonly root: 'memory' | 'disk';
  /** How an update of the disk proves good, 'runs:30'; undefined for an image without slots. */
  readonly updates: string | undefined;
  /** Who signs what a firmware starts. */
  readonly signer: Signer | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly init: string;
  /** Why the image has our init; undefined for one that starts by kmain(). */
  readonly whyInit: string | undefined;
  /** Kernel modules that init loads, in this order, before the program starts. */
  readonly modules: readonly string[];
  /** Of the program. */
  readonly ring: Ring;
  /** Further programs for ring 0, by their paths in the guest. */
  readonly ring0: readonly string[];
  /** Further words for the kernel. */
  readonly kernelArgs: readonly string[];
  readonly run: RunDefaults;
  /** What init configures where no host tells it another. */
  readonly networks: readonly Network[];
  /** The project's directory. */
  readonly directory: string;
}

/** All that runs in ring 0, the program first if it does. */
function ring0Of({ app, kernel, ring, ring0 }: ImageParts): string[] {
  const all = [...new Set([...(ring === 0 ? [app.guest, ...(app.starts ?? [])] : []), ...ring0].map((path) => imagePath(path, app.wholeRoot)))];
  if (all.length > 0 && kernel.flavour !== 'ukl') {
    throw new UklError('UKL_USAGE', 'the stock kernel runs programs in ring 3 only', { hint: 'add --ring 3, or leave --kernel stock out' });
  }
  return all;
}

/** Shared objects by their names. A program may be one, too (PIE), and is named for ring 0 by the user alone. */
const LIBRARY = /\.so(\.\d+)*$|\.node$/;

/** What ring 0 programs map: a root file system on a disk does not tell the kernel which files are code, so they are named. */
async function librariesOf({ app }: ImageParts, ring0: readonly string[]): Promise<readonly string[]> {
  if (ring0.length === 0) return [];
  const paths = new Set<string>();
  for (const file of app.files)
    if (file.kind === 'file' && LIBRARY.test(file.guest) && (await isElf(file.host))) paths.add(imagePath(file.guest, app.wholeRoot));
  return [...paths].filter((path) => !ring0.includes(path));
}

/** What must be there already where the root cannot be written. */
const mountPoints = ({ run }: ImageParts): readonly GuestFile[] => [
  ...[...run.disks, ...run.volumes, ...run.data].map(({ path }) => ({ guest: path, kind: 'directory', mode: 0o755 }) as const),
  { guest: '/.ukl/memory', kind: 'directory', mode: 0o700 },
];

/** What init does without a host: the disks and volumes that a host would bring are named as it names them. */
function ownSpec({ app, run, networks, ring }: ImageParts, program: string): Buffer {
  return encodeSpec({
    exec: program,
    argv: [...run.command, ...run.args],
    fixed: run.command.length,
    hostname: hostnameOf(app.name),
    networks,
    ntp: run.ntp,
    disks: run.disks.map(({ path }, index) => ({ serial: `ukl${index}`, path })),
    volumes: run.volumes.map(({ path }, index) => ({ tag: `ukl${index}`, path })),
    data: run.data,
    run,
    ring,
  });
}

/** What init has for updates; guest/init/update.c says what each file is for. */
async function updateFiles({ app, kernel, updates, signer, init }: ImageParts, stage: string): Promise<readonly GuestFile[]> {
  if (updates === undefined) return [];
  const certificate = signer && (await certificateOf(signer));
  if (signer !== undefined && certificate === undefined)
    throw new UklError('UKL_USAGE', `updates are signed by RSA: ${signer.key} is no RSA key without a passphrase, or not the one of ${signer.cert}`, {
      hint: `openssl rsa -noout -in ${signer.key}; openssl x509 -noout -pubkey -in ${signer.cert}`,
    });
  const [how, seconds] = updates.split(':');
  const settings = `${how} ${seconds} ${guidBytes(diskUuid(app.name)).toString('hex')} ${kernel.hashes.bzImage}\n`;
  const files: readonly GuestFile[] = [
    { guest: '/.ukl/updates', kind: 'data', data: Buffer.from(settings), mode: 0o644 },
    ...(certificate === undefined ? [] : [{ guest: '/.ukl/update.crt', kind: 'data' as const, data: certificate, mode: 0o644 }]),
    { guest: '/.ukl/slot', kind: 'directory', mode: 0o700 },
  ];
  await writeInitramfs(stage, [{ guest: '/.ukl/init', kind: 'file', host: init, mode: 0o755 }, ...files]);
  return [...files, { guest: '/.ukl/stage', kind: 'file', host: stage, mode: 0o600 }, { guest: '/.ukl/update', kind: 'symlink', target: 'init' }];
}

function trailerOf(manifest: ImageManifest): Buffer {
  const text = Buffer.from(JSON.stringify(manifest));
  const trailer = Buffer.alloc(TRAILER_BYTES);
  trailer.writeBigUInt64LE(BigInt(text.length), 0);
  trailer.write(MAGIC, 8, 'latin1');
  return Buffer.concat([text, trailer]);
}

/**
 * Compresses an archive for an image that is to be small, in a way that the
 * kernel's decoder takes (Documentation/staging/xz.rst) with a megabyte.
 */
async function compress(archive: string): Promise<{ readonly path: string; readonly bytes: number; readonly sha256: string }> {
  await exec('xz', ['--keep', '--force', '--threads=1', '--check=crc32', '--x86', '--lzma2=preset=9e,dict=1MiB', archive]);
  const path = `${archive}.xz`;
  return { path, bytes: (await stat(path)).size, sha256: await hashFile(path) };
}

/** The file beside an image that has what only this host knows. */
const hostFile = (path: string): string => `${path}.host.json`;

/**
 * Puts kernel and program together, in one file that boots by itself. It
 * appears under its path only when it is complete.
 *
 * @throws UKL_USAGE, UKL_NO_FILE, UKL_IMAGE
 */
export async function writeImage(path: string, parts: ImageParts): Promise<Image> {
  const { app, kernel, container } = parts;
  const program = imagePath(app.guest, app.wholeRoot);
  const ring0 = ring0Of(parts);
  const partial = `${resolve(path)}.partial-${process.pid}`;
  const archive = `${partial}.initramfs`;
  const stage = `${partial}.stage`;
  const { whyInit } = parts;
  const rootFile = `${partial}.root`;
  const start =
    whyInit === undefined
      ? ['loglevel=5', `rdinit=${program}`, ...kmainWords({ program, hostname: hostnameOf(app.name), networks: parts.networks, run: parts.run })]
      : ['quiet', ...(parts.root === 'disk' ? ['init=/.ukl/init'] : ['rdinit=/.ukl/init'])];
  try {
    const log = join(storeRoot(), 'logs', `medium-${app.name}.log`);
    const initramfs = await writeInitramfs(
      archive,
      [
        ...(parts.root === 'disk' ? mountPoints(parts) : []),
        ...app.files,
        ...(whyInit === undefined
          ? kmainFiles(parts.networks)
          : [
              { guest: '/.ukl/init', kind: 'file' as const, host: parts.init, mode: 0o755 },
              ...parts.modules.map((host, index) => ({ guest: `/.ukl/modules/${index}`, kind: 'file' as const, host, mode: 0o600 })),
              { guest: '/.ukl/spec', kind: 'data' as const, data: ownSpec(parts, program), mode: 0o600 },
              ...(await updateFiles(parts, stage)),
            ]),
      ],
      { wholeRoot: app.wholeRoot, signal: parts.signal },
    );
    const missing = ring0.filter((one) => !initramfs.files.some((file) => file.path === one));
    if (missing.length > 0) throw new UklError('UKL_NO_FILE', `the image has no ${missing.join(', ')} to run in ring 0`, { hint: `--file HOST:${missing[0]}` });
    const compression = isSmall(kernel.spec.profile) && container.name === 'bzImage' ? 'xz' : 'none';
    const shipped = compression === 'xz' ? await compress(archive) : { path: archive, bytes: initramfs.bytes, sha256: initramfs.sha256 };
    // Where the power fails while partitions are exchanged, the kernel is to take the table's copy.
    const root = parts.root === 'disk' ? await writeRoot(archive, rootFile, log, parts.signal) : undefined;
    const words = [...start, ...(root?.words ?? []), ...(parts.updates === undefined ? [] : ['gpt'])];
    const cmdline = imageCmdline(words, ring0, root === undefined ? [] : await librariesOf(parts, ring0), parts.kernelArgs, container.kind);
    const prefix =
      container.kind === 'kernel' && parts.loader !== undefined
        ? await container.prefix({ kernel, loader: parts.loader, cmdline, initramfsBytes: shipped.bytes })
        : undefined;
    const manifest: ImageManifest = {
      format: 5,
      container: container.name,
      name: app.name,
      runtime: parts.runtime,
      ring: parts.ring,
      ring0,
      program,
      cmdline,
      kernel: {
        line: kernel.line,
        flavour: kernel.flavour,
        profile: kernel.spec.profile,
        version: kernel.version,
        sha256: kernel.hashes[container.carries] ?? '',
        bytes: prefix?.length ?? (await stat(kernel.bzImage)).size,
        ...(kernel.spec.counts === undefined ? {} : { optimizedFor: kernel.spec.counts.load }),
        fit: parts.fit,
      },
      init: whyInit === undefined ? { kind: 'kmain' } : { kind: 'init', why: whyInit },
      initramfs: {
        sha256: shipped.sha256,
        bytes: root === undefined ? shipped.bytes : 0,
        files: initramfs.files.length,
        // A root file system on a disk takes no memory.
        unpackedBytes: root === undefined ? initramfs.unpackedBytes : 0,
        inPlaceBytes: compression === 'none' && root === undefined ? initramfs.inPlaceBytes : 0,
        compression,
      },
      ...(root === undefined ? {} : { root: { bytes: root.bytes } }),
      files: [...initramfs.files],
      run: parts.run,
    };
    if (container.kind === 'medium') {
      await using scratch = await makeScratch('medium');
      await container.write({
        ...{
          bzImage: kernel.bzImage,
          initramfs: root === undefined ? shipped.path : undefined,
          root,
          sums: [manifest.kernel.sha256, shipped.sha256],
          cmdline,
          name: app.name,
          signer: parts.signer,
        },
        updates: parts.updates !== undefined,
        ...{ memoryMiB: parts.run.memoryMiB ?? USUAL_MIB, cpus: parts.run.cpus },
        ...{ out: partial, work: scratch.path, log, signal: parts.signal },
      });
    } else if (prefix !== undefined) {
      const out = createWriteStream(partial);
      out.write(prefix);
      await pipeline(createReadStream(shipped.path), out, { end: false });
      await new Promise<void>((done, failed) => {
        out.once('error', failed);
        out.end(trailerOf(manifest), done);
      });
    }
    const host: ImageHost = {
      ...{ format: 5, initramfs: shipped.sha256, program: app.host, directory: parts.directory },
      ...(container.kind === 'medium' ? { manifest, sha256: await hashFile(partial) } : {}),
    };
    await writeFile(hostFile(path), `${JSON.stringify(host, null, 2)}\n`);
    await rename(partial, path);
    return { path: resolve(path), manifest, host };
  } finally {
    await rm(partial, { force: true });
    for (const file of [archive, `${archive}.xz`, stage, rootFile]) await rm(file, { force: true });
  }
}

/** The JSON text at a file's end, if the file is an image of any format. */
async function readTrailer(path: string): Promise<string | undefined> {
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
    return text.toString();
  } finally {
    await file.close();
  }
}

export async function isImage(path: string): Promise<boolean> {
  return (await readTrailer(path)) !== undefined || (await mediumOf(path)) !== undefined;
}

/**
 * A medium has no room for a manifest: it is beside it, on the host that built it.
 *
 * @throws UKL_IMAGE if what is beside it is about another one
 */
async function mediumOf(path: string): Promise<Image | undefined> {
  const text = await readFile(hostFile(path), 'utf8').catch(() => undefined);
  if (text === undefined || !(await stat(path).catch(() => undefined))?.isFile()) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { data: host } = imageHost.safeParse(value);
  if (host?.manifest === undefined) return undefined;
  if (host.sha256 !== (await hashFileOnce(path)))
    throw new UklError('UKL_IMAGE', `${path} is not the medium that ${hostFile(path)} tells of: one of them was changed or comes from another build`, {
      hint: `ukl build TARGET --container ${host.manifest.container} -o ${path}, which makes both again; or rm ${hostFile(path)}, if it is no medium`,
    });
  return { path: resolve(path), manifest: host.manifest, host };
}

/** What the building host left beside the image, if it did and if it is about this one. */
async function readHost(path: string, { initramfs }: ImageManifest): Promise<ImageHost | undefined> {
  const text = await readFile(hostFile(path), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const { success, data } = imageHost.safeParse(JSON.parse(text));
    return success && data.initramfs === initramfs.sha256 ? data : undefined;
  } catch {
    return undefined;
  }
}

/** Reads an image that `ukl build` wrote, here or elsewhere. Throws UKL_IMAGE. */
export async function openImage(path: string): Promise<Image> {
  const text = await readTrailer(path);
  const medium = text === undefined ? await mediumOf(path) : undefined;
  if (medium !== undefined) return medium;
  if (text === undefined) throw new UklError('UKL_IMAGE', `${path} is not an image`, { hint: `ukl build TARGET -o ${basename(path)}` });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new UklError('UKL_IMAGE', `the manifest of ${path} is damaged`, { cause, hint: 'build it again' });
  }
  const { success, data: manifest, error } = imageManifest.safeParse(value);
  if (!success) {
    const format = z.object({ format: z.number() }).safeParse(value).data?.format;
    throw new UklError(
      'UKL_IMAGE',
      format === imageManifest.shape.format.value
        ? `the manifest of ${path} is damaged`
        : `${path} has format ${format ?? 'unknown'}; this ukl reads format ${imageManifest.shape.format.value}`,
      {
        hint: 'build it again',
        details: z.prettifyError(error),
      },
    );
  }
  const { size } = await stat(path);
  if (size !== manifest.kernel.bytes + manifest.initramfs.bytes + Buffer.byteLength(text) + TRAILER_BYTES) {
    throw new UklError('UKL_IMAGE', `${path} is not complete, or was changed`, { hint: 'build it again' });
  }
  return { path: resolve(path), manifest, host: await readHost(path, manifest) };
}
