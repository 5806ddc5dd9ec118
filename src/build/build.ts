// SPDX-License-Identifier: MIT
/** From a target to an image: composes the stages, which do not know each other. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { makeApp } from '../app/app.js';
import { resolveTarget, type Target } from '../app/target.js';
import type { ImageContainer, PackageContainer, Signer } from '../containers/container.js';
import { containers } from '../containers/index.js';
import { dataFiles, dataRequirements, parseData } from '../devices/data.js';
import { splitDisk } from '../devices/disk.js';
import { parseNetwork } from '../devices/nic.js';
import { parsePort } from '../devices/ports.js';
import { splitVolume } from '../devices/volume.js';
import { callNames } from '../elf/calls.js';
import { isElf, isScript } from '../elf/elf.js';
import { getInit, getLoader, requirements as guestRequirements } from '../guest/programs.js';
import { ensurePackages } from '../host/requirements.js';
import { type ImageParts, writeImage } from '../image/image.js';
import { imagePath } from '../image/initramfs.js';
import { needsInit } from '../image/kmain.js';
import { requirements as rootRequirements } from '../image/root.js';
import { type Fit, fitKernel, hasFeature, needsOfCalls, needsOfWords } from '../kernels/fit.js';
import { readFragment, readOptions } from '../kernels/kconfig.js';
import { COUNTING, getKernel } from '../kernels/kernel.js';
import { DEFAULT_LINE, type KernelLine, kernelLines } from '../kernels/lines.js';
import { EXPRESS, findShortcut, getShortcuts } from '../kernels/shortcuts.js';
import { UklError } from '../lib/errors.js';
import { hashValue } from '../lib/hash.js';
import { silentLog } from '../lib/log.js';
import { storeRoot } from '../lib/paths.js';
import { makeScratch } from '../lib/scratch.js';
import { parseSize } from '../lib/size.js';
import { getCompiler } from '../libc/compiler.js';
import { requirements as libcRequirements } from '../libc/glibc.js';
import type { App, Data, DataType, Image, KernelFlavour, KernelProfile, RemoteType, Ring, RunDefaults } from '../model/index.js';
import { isSmall } from '../model/kernel.js';
import type { ResolvedConfig, UklConfig } from '../options/config.js';
import type { BuildOptions } from '../options/given.js';
import { vmms } from '../vmms/index.js';

function runDefaults({ config, runtime }: Target, app: App, profile: ResolvedConfig['profile']): RunDefaults {
  return {
    command: [...app.command],
    args: [...(app.process?.args ?? config.args)],
    env: { ...app.process?.env, ...config.env },
    cwd: config.cwd ?? app.process?.cwd ?? '/',
    ...(app.process === undefined ? {} : { user: { ...app.process.user, groups: [...app.process.user.groups] } }),
    ...(app.process?.stopSignal === undefined ? {} : { stopSignal: app.process.stopSignal }),
    exposed: [...(app.process?.exposed ?? [])],
    ...(config.timeout === undefined ? {} : { timeoutSeconds: config.timeout }),
    ...(config.memory === undefined && (isSmall(profile) || runtime.defaultMemory === undefined)
      ? {}
      : { memoryMiB: Math.ceil(parseSize(config.memory ?? runtime.defaultMemory ?? '') / 1024 ** 2) }),
    cpus: config.cpus,
    ...(config.watchdog === undefined ? {} : { watchdogSeconds: config.watchdog }),
    ports: config.ports.map(parsePort),
    network: [config.network ?? []].flat(),
    ntp: config.ntp,
    disks: config.disks.map(splitDisk),
    volumes: config.volumes.map(splitVolume),
    data: config.data.map(parseData),
  };
}

/** Where programs are compiled to: two files of one name in different places are different programs. */
function binDirectory(target: Target): string {
  if (target.directory !== process.cwd()) return join(target.directory, '.ukl', 'bin');
  const sources = (target.config.sources ?? []).map((source) => resolve(target.directory, source));
  return join(storeRoot(), 'bin', hashValue([target.directory, sources]).slice(0, 16));
}

/** What is seen of a program: names of calls in its ELF files, and whether it has scripts. */
async function lookAt(app: App): Promise<{ readonly calls: ReadonlySet<string>; readonly script: boolean }> {
  const calls = new Set<string>();
  let script = false;
  for (const file of app.files) {
    if (file.kind !== 'file') continue;
    script ||= await isScript(file.host);
    if (await isElf(file.host)) for (const name of await callNames(file.host)) calls.add(name);
  }
  return { calls, script };
}

interface Start {
  readonly profile: KernelProfile;
  readonly whyInit: string | undefined;
  readonly fitted: Fit | undefined;
}

/** How a program starts, and on what kernel. Throws UKL_CONFIG if its profile cannot have that. */
async function chooseStart(
  { config, runtime }: Target,
  app: App,
  flavour: KernelFlavour,
  wanted: ResolvedConfig['profile'],
  express: boolean,
  run: RunDefaults,
): Promise<Start> {
  const profile = wanted === 'fit' ? 'hello' : wanted;
  if (isSmall(profile) && (config.shortcuts.length > 0 || express))
    throw new UklError('UKL_CONFIG', `${express ? 'express needs' : 'shortcuts are'} modules, which a kernel of the profile '${wanted}' does not take`, {
      hint: "profile: 'server'",
    });
  const { calls, script } = wanted === 'fit' ? await lookAt(app) : { calls: new Set<string>(), script: false };
  const whyInit = needsInit({ flavour, profile, runtime: runtime.name, calls, program: imagePath(app.guest, app.wholeRoot), run });
  if (wanted === 'hello' && flavour === 'ukl' && whyInit !== undefined)
    throw new UklError('UKL_CONFIG', `a kernel of the profile 'hello' has nothing for an init, and one is needed: ${whyInit}`, { hint: "profile: 'fit'" });
  if (wanted !== 'fit') return { profile, whyInit, fitted: undefined };
  const machine: readonly (readonly [boolean, string, string])[] = [
    [config.cpus > 1, 'smp', `${config.cpus} processors`],
    [config.disks.length > 0, 'disk', 'disks'],
    [config.volumes.length > 0, 'volume', 'volumes'],
    [run.data.some(({ remote }) => remote === undefined), 'disk', 'data'],
    [run.data.some(({ remote }) => remote?.type === '9p'), 'volume', 'data'],
    [config.ports.length > 0, 'net', 'ports'],
    [run.network.length > 0, 'net', 'a network'],
    [run.network.some((word) => /ipv6|:/.test(word.slice(word.indexOf('=') + 1))), 'ipv6', 'addresses of IPv6'],
    [script, 'script', 'a file that begins with #!'],
    [whyInit !== undefined, 'init', whyInit ?? ''],
  ];
  const needs = [...needsOfWords(config.needs), ...machine.flatMap(([is, feature, why]) => (is ? [{ feature, why }] : [])), ...needsOfCalls(calls)];
  return { profile, whyInit, fitted: fitKernel(needs) };
}

/** What a target's kernel is built for: who boots by a firmware meets all kinds of disks and cards. */
export function profileOf({ config }: Target, { profile, container = 'bzImage' }: BuildOptions): ResolvedConfig['profile'] {
  return profile ?? (containers.get(container).kind === 'medium' && config.profile === 'server' ? 'hardware' : config.profile);
}

/** What the kernel has to have for each kind of data. */
const DATA_OPTIONS: Readonly<Record<DataType | RemoteType, string>> = {
  ...{ ext4: 'CONFIG_EXT4_FS', xfs: 'CONFIG_XFS_FS', btrfs: 'CONFIG_BTRFS_FS' },
  ...{ nfs4: 'CONFIG_NFS_V4', cifs: 'CONFIG_CIFS', '9p': 'CONFIG_9P_FS', virtiofs: 'CONFIG_VIRTIO_FS' },
};

/** Throws UKL_CONFIG for a file system that the kernel would not have. */
function checkData(data: readonly Data[], profile: ResolvedConfig['profile'], has: ReadonlyMap<string, string>): void {
  // A fitted kernel gets what disks and 9p need.
  const fitted = profile === 'fit' ? ['ext4', '9p'] : [];
  const types = data.map(({ make = 'ext4', remote }) => remote?.type ?? make);
  const type = types.find((one) => !fitted.includes(one) && has.get(DATA_OPTIONS[one]) !== 'y');
  if (type === undefined) return;
  throw new UklError('UKL_CONFIG', `a kernel of the profile '${profile}' has no ${type}`, {
    hint: `profile: 'hardware', or kernelConfig with ${DATA_OPTIONS[type]}=y`,
  });
}

/** What a kernel is to have, but for what is fitted to its program. */
async function readWanted(profile: ResolvedConfig['profile'], { config }: KernelLine, fragments: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const ours = config[profile === 'fit' ? 'hello' : profile].ukl.map((path) => readFile(path, 'utf8'));
  return readOptions((await Promise.all([...ours, ...fragments.map(readFragment)])).join('\n'));
}

/** Who signs an image. Throws UKL_USAGE for a key without a certificate, UKL_NO_FILE. */
function signerOf({ key, cert, container = 'bzImage' }: BuildOptions): Signer | undefined {
  if (key === undefined && cert === undefined) return undefined;
  if (key === undefined || cert === undefined)
    throw new UklError('UKL_USAGE', 'a key and its certificate sign together', { hint: '--key KEY.pem --cert CERT.pem' });
  if (containers.get(container).kind !== 'medium')
    throw new UklError('UKL_USAGE', `a ${container} is not signed: no firmware starts it`, { hint: '--container uki' });
  const missing = [key, cert].find((file) => !existsSync(file));
  if (missing !== undefined) throw new UklError('UKL_NO_FILE', `${missing} does not exist`, { hint: 'a PEM file' });
  return { key, cert };
}

/** What a disk has besides a boot partition. Throws UKL_CONFIG if its kernel or its configuration does not go with that. */
function partitionsOf(
  { config }: Target,
  container: ImageContainer,
  profile: ResolvedConfig['profile'],
  has: ReadonlyMap<string, string>,
): Pick<ImageParts, 'root' | 'updates'> {
  if (container.kind !== 'medium' || !container.partitions) return { root: 'memory', updates: undefined };
  const { root, updates } = config;
  if (updates === undefined && container.name === 'update')
    throw new UklError('UKL_CONFIG', 'an update is for a disk that was built to take some', {
      hint: "updates: 'runs:30' in ukl.config, then --container disk",
    });
  const lacks =
    updates !== undefined && has.get('CONFIG_KEXEC_FILE') !== 'y' ? 'kexec' : root === 'disk' && has.get('CONFIG_DM_INIT') !== 'y' ? 'dm-verity' : undefined;
  if (lacks !== undefined) throw new UklError('UKL_CONFIG', `a kernel of the profile '${profile}' has no ${lacks}`, { hint: '--profile hardware' });
  return { root, updates };
}

/** Builds an image, and puts it into what carries it around. */
async function buildPackage(out: string, target: Target, options: BuildOptions, container: PackageContainer): Promise<Image> {
  await using scratch = await makeScratch('package');
  const { path: file, manifest } = await buildTo(join(scratch.path, 'image'), target, { ...options, container: container.carries });
  const path = await (options.log ?? silentLog).step(`put ${manifest.name} into ${basename(out)}`, () =>
    container.write({ file, manifest, out, work: scratch.path, signal: options.signal }),
  );
  return { path, manifest, host: undefined };
}

/** Builds the image of a target at `path`. */
export async function buildTo(path: string, target: Target, options: BuildOptions): Promise<Image> {
  const container = containers.get(options.container ?? 'bzImage');
  if (container.kind === 'package') return buildPackage(path, target, options, container);
  const log = options.log ?? silentLog;
  const context = { log, signal: options.signal };
  const { config } = target;
  if (options.entrypoint !== undefined && config.image === undefined)
    throw new UklError('UKL_USAGE', `${target.name} is no container image, whose entry point could be another`, { hint: 'name the program itself' });
  const flavour = options.kernel ?? 'ukl';
  const ring: Ring = options.ring ?? (flavour === 'stock' ? 3 : (config.ring ?? 0));
  const express = options.express ?? config.express;
  const data = config.data.map(parseData);
  const shortcuts = [...(express ? EXPRESS : []), ...config.shortcuts].map((word) => findShortcut(word, target.directory));
  const line = kernelLines.get(DEFAULT_LINE);
  await ensurePackages(
    log,
    [
      ...line.requirements,
      ...guestRequirements,
      ...container.requirements,
      ...dataRequirements(data),
      ...(config.root === 'disk' ? rootRequirements : []),
      ...target.runtime.requirements(config),
    ],
    options.signal,
  );
  // The program first: a typing error should not cost a kernel build.
  const app = await makeApp(target, {
    outDir: binDirectory(target),
    extraFiles: [...(options.files ?? []), ...dataFiles(data)],
    // What calls by a trap is served as ever.
    libc: options.libc ?? (express && config.libc === undefined ? 'ukl' : undefined),
    check: options.check,
    words: options.words,
    entrypoint: options.entrypoint,
    dev: options.dev ?? false,
    getLibc: async (kind) => {
      await ensurePackages(log, libcRequirements, options.signal);
      return getCompiler(kind, context);
    },
    ...context,
  });
  const fragments = [
    ...(config.kernelConfig === undefined ? [] : [resolve(target.directory, config.kernelConfig)]),
    ...(options.kernelConfig === undefined ? [] : [options.kernelConfig]),
  ];
  const profile = profileOf(target, options);
  if (container.kind === 'medium' && isSmall(profile))
    throw new UklError('UKL_CONFIG', `a kernel of the profile '${profile}' has no drivers for what a ${container.name} is started by`, {
      hint: '--profile hardware',
    });
  const signer = signerOf(options);
  const wanted = await readWanted(profile, line, fragments);
  const partitions = partitionsOf(target, container, profile, wanted);
  checkData(data, profile, wanted);
  if (container.boot === 'efi' && wanted.get('CONFIG_EFI_STUB') !== 'y')
    log.warn(`a kernel of the profile '${profile}' has no EFI stub, so UEFI does not start this: --profile hardware`);
  const run = runDefaults(target, app, profile);
  const configured = run.network.map(parseNetwork).filter((one) => one !== undefined);
  const { fitted, ...start } = await log.step(`look at what ${app.name} needs`, () => chooseStart(target, app, flavour, profile, express, run));
  const kernel = await getKernel(
    {
      line: line.name,
      flavour,
      profile: start.profile,
      options: [...(fitted?.options ?? []), ...(options.counting ? COUNTING : [])],
      counts: options.counts,
      fragments,
      tarball: options.kernelSource,
    },
    context,
  );
  // For comparisons: what the configuration has in ring 0 runs in ring 3 on the stock kernel, and where that is asked for.
  const ring0 = [...(flavour === 'stock' || options.ring === 3 ? [] : config.ring0), ...(options.ring0 ?? [])];
  // Only ring 0 can call them: in ring 3 the program makes the plain calls.
  const called = ring === 0 || ring0.length > 0 ? shortcuts : [];
  const modules = called.length === 0 ? [] : await getShortcuts(kernel, called, context);
  const networks =
    config.network !== undefined
      ? configured
      : container.kind === 'medium'
        ? [parseNetwork('dhcp')].filter((one) => one !== undefined)
        : hasFeature(start.profile, fitted, 'net')
          ? [vmms.get('qemu').userNetwork(0)]
          : [];
  const init = await getInit(context);
  const loader = container.kind === 'kernel' ? await getLoader(container.loader, context) : undefined;
  return log.step(`pack ${app.name}`, () =>
    writeImage(path, {
      app,
      runtime: target.runtime.name,
      kernel,
      fit: fitted && { has: [...fitted.has], leftOut: [...fitted.leftOut] },
      container,
      loader,
      ...partitions,
      signer,
      signal: options.signal,
      init,
      whyInit: start.whyInit,
      modules,
      ring,
      ring0,
      kernelArgs: config.kernelArgs,
      run,
      networks,
      directory: target.directory,
    }),
  );
}

/**
 * Builds an image from a file (C, TypeScript, JavaScript, an ELF program), a
 * project directory, or a configuration as ukl.config.ts has it.
 *
 * @throws UklError; nothing half-made is left at the image's path
 */
export async function build(targetPath: string | UklConfig, options: BuildOptions = {}): Promise<Image> {
  const target = await resolveTarget(targetPath);
  const container = containers.get(options.container ?? 'bzImage');
  const out = resolve(options.out ?? join(target.directory, '.ukl', `${target.name}.${container.kind === 'package' ? container.name : 'image'}`));
  const there = await stat(out).catch(() => undefined);
  if (options.out === undefined) {
    await mkdir(dirname(out), { recursive: true });
    if (container.kind === 'package') await rm(out, { recursive: true, force: true });
  } else if (container.kind === 'package' && container.takes(out)) return buildTo(out, target, options);
  else if (there?.isBlockDevice() || there?.isCharacterDevice()) {
    throw new UklError('UKL_USAGE', `${out} is a device, and an image is a file`, {
      hint: `-o FILE, and then dd if=FILE of=${out} bs=1M conv=fsync (destroys what is on it)`,
    });
  } else if (options.out === '' || there?.isDirectory()) {
    throw new UklError('UKL_USAGE', `an image is a file, and '${options.out}' is not the name of one`, {
      hint: `-o ${join(options.out, `${target.name}.image`)}`,
    });
  } else if (!existsSync(dirname(out))) throw new UklError('UKL_USAGE', `the directory ${dirname(out)} does not exist`, { hint: `mkdir -p ${dirname(out)}` });
  return buildTo(out, target, options);
}
