// SPDX-License-Identifier: MIT
/**
 * The SDK: what the command line does, as functions. It composes the stages
 * (toolchain, app, image, vmm); the stages do not know each other.
 */

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { makeApp, resolveTarget, type Target } from '../app/app.js';
import type { UklConfig } from '../config/schema.js';
import { ensureDisk, parseDisk } from '../devices/disk.js';
import { checkPorts, choosePorts, parsePort } from '../devices/ports.js';
import { checkVolume, parseVolume } from '../devices/volume.js';
import { getBacklog, getInit, getLoaders } from '../guest/programs.js';
import { encodeSpec } from '../guest/spec.js';
import { getDebianSource } from '../host/debian.js';
import { ensurePackages, requirements } from '../host/requirements.js';
import { isImage, openImage, writeImage } from '../image/image.js';
import { findKernel, getKernel } from '../kernels/kernel.js';
import { findShortcut, getShortcuts } from '../kernels/shortcuts.js';
import { asUklError, UklError } from '../lib/errors.js';
import { type Log, silentLog } from '../lib/log.js';
import { storeRoot } from '../lib/paths.js';
import { formatSize, parseSize } from '../lib/size.js';
import { getCompiler } from '../libc/compiler.js';
import type { App, Disk, Image, ImageFormat, KernelFlavour, Ring, RunDefaults, RunResult } from '../model/index.js';
import { kernelCmdline } from '../run/cmdline.js';
import { writeGdbScript } from '../run/gdb.js';
import { getNode } from '../runtimes/node/release.js';
import { type AccelChoice, chooseAccel, probeKvm } from '../vmms/qemu/accel.js';
import { QEMU, type QemuOptions, qemuArgs, shellQuote } from '../vmms/qemu/args.js';
import { checkCpu, defaultCpu } from '../vmms/qemu/cpu.js';
import { USER_NETWORK } from '../vmms/qemu/network.js';
import { Vm } from '../vmms/qemu/vm.js';

export { defineConfig, type UklConfig } from '../config/schema.js';
export { type ErrorCode, UklError } from '../lib/errors.js';
export { createLog, type Log } from '../lib/log.js';
export type * from '../model/index.js';

export interface Context {
  /** Where progress is told; nowhere by default. */
  readonly log?: Log;
  /** Ends the work, with everything it started. */
  readonly signal?: AbortSignal;
}

export interface BuildOptions extends Context {
  /** The kernel: ours, or the unpatched one (ring 3 only). */
  readonly kernel?: KernelFlavour;
  /** 3 is for all programs, those that the configuration has in ring 0 as well. */
  readonly ring?: Ring;
  /** Further programs for ring 0, by their paths in the guest. */
  readonly ring0?: readonly string[];
  /** Further "host[:guest]" files. */
  readonly files?: readonly string[];
  /** A linux-6.12.*.tar.* to use in place of Debian's. */
  readonly kernelSource?: string;
  /** Options of the kernel: a fragment of a .config, on top of the target's own. */
  readonly kernelConfig?: string;
  /** Our C library or the host's, in place of what the target asks for. */
  readonly libc?: 'ukl' | 'host';
  /** Types of a TypeScript program are checked unless this is false. */
  readonly check?: boolean;
  /** A TypeScript program runs under a supervisor that takes new versions of it; see `dev()`. */
  readonly dev?: boolean;
  /** "bzImage" by default. */
  readonly format?: ImageFormat;
  /** Where the image goes; `.ukl/NAME` in the project by default. */
  readonly out?: string;
}

/** Overrides of an image's defaults for one run. */
export interface RunOptions extends Context {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** "256M", "1G" */
  readonly memory?: string;
  /** Do not refuse what the image's files cannot fit into. */
  readonly anyMemory?: boolean;
  readonly cpus?: number;
  /** QEMU's model of the processor, with features: "EPYC", "Skylake-Server,-pcid"; by default all that the accelerator can do. */
  readonly cpu?: string;
  /** "8080:80"; "0:80" for any free port, which `RunningVm.port()` then tells. */
  readonly ports?: readonly string[];
  /** "data.img:/data" */
  readonly disks?: readonly string[];
  /** "data:/data": directories of the host that the guest shares */
  readonly volumes?: readonly string[];
  readonly accel?: AccelChoice;
  readonly timeoutSeconds?: number;
  /** Guest time is counted instructions (emulation only). */
  readonly icount?: boolean;
  /** Wait for gdb before the first instruction; `log` says what to type. */
  readonly gdb?: boolean;
  /** Show the kernel's own log on `stderr`. */
  readonly verbose?: boolean;
  /** Where the program's streams come from and go to, in place of those of the `RunningVm`. */
  readonly stdin?: Readable;
  readonly stdout?: Writable;
  readonly stderr?: Writable;
  /** A plugin of QEMU's, and its arguments (emulation only). */
  readonly plugin?: QemuOptions['plugin'];
  /** The guest asks the network for its addresses, or has none; by default they are QEMU's (10.0.2.15, as DHCP gives it too). */
  readonly network?: 'dhcp' | 'none';
  /** Further words for the kernel's command line. */
  readonly kernelArgs?: readonly string[];
}

const RING0: Ring = 0;
/** What the kernel and its page tables take besides the program's files, in MiB. */
const KERNEL_MIB = 56;

/** Node.js alone is 110 MB, and in memory twice while the guest starts. */
const defaultMemory = ({ entry }: Target['config']): string => (entry === undefined ? '256M' : '512M');

function runDefaults(target: Target, app: App): RunDefaults {
  const { config } = target;
  return {
    command: app.command,
    args: config.args,
    env: config.env,
    cwd: config.cwd,
    ...(config.timeout === undefined ? {} : { timeoutSeconds: config.timeout }),
    memoryMiB: Math.ceil(parseSize(config.memory ?? defaultMemory(config)) / 1024 ** 2),
    cpus: config.cpus,
    ports: config.ports.map(parsePort),
    disks: config.disks.map((disk) => parseDisk(disk, target.directory)),
    volumes: config.volumes.map((volume) => parseVolume(volume, target.directory)),
  };
}

async function buildTo(path: string, target: Target, options: BuildOptions): Promise<Image> {
  const log = options.log ?? silentLog;
  const context = { log, signal: options.signal };
  const flavour = options.kernel ?? 'ukl';
  const ring = options.ring ?? (flavour === 'stock' ? 3 : (target.config.ring ?? RING0));
  const wanted = target.config.buildPackages.map((name) => ({ package: name, why: `builds ${target.name}` }));
  const source = target.config.debianSource === undefined ? [] : [{ package: 'dpkg-dev', why: 'unpacks source packages', file: '/usr/bin/dpkg-source' }];
  const shortcuts = target.config.shortcuts.map((word) => findShortcut(word, target.directory));
  await ensurePackages(log, [...requirements, ...source, ...wanted], options.signal);
  // The program first: a typing error should not cost a kernel build.
  const app = await makeApp(target, {
    outDir: join(target.directory === process.cwd() ? storeRoot() : join(target.directory, '.ukl'), 'bin'),
    extraFiles: options.files ?? [],
    libc: options.libc,
    getLibc: () => getCompiler(context),
    getSource: (name) => getDebianSource(name, context),
    getNode: (version) => getNode(version, context),
    ...(options.check === undefined ? {} : { check: options.check }),
    ...(options.dev === undefined ? {} : { dev: options.dev }),
    ...context,
  });
  const fragments = [
    ...(target.config.kernelConfig === undefined ? [] : [resolve(target.directory, target.config.kernelConfig)]),
    ...(options.kernelConfig === undefined ? [] : [options.kernelConfig]),
  ];
  const kernel = await getKernel(flavour, context, { tarball: options.kernelSource, fragments });
  // For comparisons: what the configuration has in ring 0 runs in ring 3 on the stock kernel, and where that is asked for.
  const ring0 = [...(flavour === 'stock' || options.ring === 3 ? [] : target.config.ring0), ...(options.ring0 ?? [])];
  // In ring 3 nobody could call them: the program makes the plain calls.
  const called = ring === RING0 || ring0.length > 0 ? shortcuts : [];
  const modules = called.length === 0 ? [] : await getShortcuts(kernel, called, context);
  const init = await getInit(context);
  const loaders = await getLoaders(context);
  return log.step(`pack ${app.name}`, () =>
    writeImage(path, {
      app,
      kernel,
      loaders,
      init,
      modules,
      ring,
      ring0,
      kernelArgs: target.config.kernelArgs,
      format: options.format ?? 'bzImage',
      network: USER_NETWORK,
      run: runDefaults(target, app),
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
  const out = options.out ?? join(target.directory, '.ukl', `${target.name}.image`);
  await mkdir(join(out, '..'), { recursive: true });
  return buildTo(out, target, options);
}

/** What a run will do, before it is done. */
export interface RunPlan {
  readonly image: Image;
  readonly qemu: Omit<QemuOptions, 'directory'>;
  /** The library that QEMU is started with, if it listens on a port. */
  readonly preload: string | undefined;
  readonly disks: readonly Disk[];
  readonly accelWhy: string;
  /** The VMM's command line, to copy; sockets are in `$DIR`. */
  readonly command: string;
  readonly argv: readonly string[];
}

/**
 * What memory an image's files need, in MiB. The archive and the files that it
 * becomes are in memory together for a while. A tmpfs takes at most half of
 * what is free when it is mounted (mm/shmem.c), and the archive's is not.
 */
function memoryFor({ manifest }: Image): { readonly tmpfs: number; readonly ramfs: number } {
  const { unpackedBytes, bytes } = manifest.initramfs;
  const mib = (count: number): number => KERNEL_MIB + Math.ceil(count / 1024 ** 2);
  return { tmpfs: mib(bytes + 2 * unpackedBytes), ramfs: mib(bytes + unpackedBytes) };
}

function checkMemory(image: Image, memoryMiB: number): void {
  const need = memoryFor(image).ramfs;
  if (memoryMiB < need) {
    const { unpackedBytes } = image.manifest.initramfs;
    throw new UklError('UKL_MEMORY', `${memoryMiB} MiB are too little: the image's ${formatSize(unpackedBytes)} of files need at least ${need} MiB`, {
      hint: `-M ${need}M`,
      exitCode: 125,
    });
  }
}

/** Without a compiler, or below a path that LD_PRELOAD cannot have, a few clients at a time are all that can connect. */
async function preloadable(context: Required<Pick<Context, 'log'>> & { readonly signal: AbortSignal | undefined }): Promise<string | undefined> {
  try {
    const library = await getBacklog(context);
    if (!/[\s:]/.test(library)) return library;
    context.log.warn(`${library} has blanks or colons: many clients at once will be refused`);
  } catch (error) {
    context.signal?.throwIfAborted();
    context.log.warn(`many clients at once will be refused: ${asUklError(error).message}`);
  }
  return undefined;
}

async function plan(image: Image, options: RunOptions): Promise<RunPlan> {
  const log = options.log ?? silentLog;
  const { manifest } = image;
  const { run } = manifest;
  const memoryMiB = options.memory === undefined ? run.memoryMiB : Math.ceil(parseSize(options.memory) / 1024 ** 2);
  const cpus = options.cpus ?? run.cpus;
  const wanted = [...run.ports, ...(options.ports ?? []).map(parsePort)];
  const ports = await choosePorts(wanted);
  ports.forEach((port, index) => {
    if (wanted[index]?.host === 0) log.info(`127.0.0.1:${port.host} leads to port ${port.guest} of the guest`);
  });
  const disks = [...run.disks, ...(options.disks ?? []).map((disk) => parseDisk(disk))].map((disk, index) => ({ ...disk, serial: `ukl${index}` }));
  const volumes = [...run.volumes, ...(options.volumes ?? []).map((volume) => parseVolume(volume))].map((volume, index) => ({ ...volume, tag: `ukl${index}` }));
  if (!options.anyMemory) checkMemory(image, memoryMiB);

  if (options.icount && options.accel === 'kvm') {
    throw new UklError('UKL_USAGE', 'instructions can only be counted in emulation', { hint: '--icount --accel tcg' });
  }
  const { accel, why } = await chooseAccel(options.icount ? 'tcg' : (options.accel ?? 'auto'), () =>
    log.step('try KVM', async () => probeKvm(await getKernel(manifest.kernel.flavour, { log, signal: options.signal }))),
  );
  if (options.cpu !== undefined) await checkCpu(options.cpu, accel);
  // Extra arguments take the place of the image's.
  const argv = [...run.command, ...(options.args && options.args.length > 0 ? options.args : run.args)];
  const qemu = {
    accel,
    kernel: image.path,
    cmdline: kernelCmdline({
      accel,
      gdb: options.gdb ?? false,
      verbose: options.verbose ?? false,
      icount: options.icount ?? false,
      root: memoryMiB < memoryFor(image).tmpfs ? 'ramfs' : 'tmpfs',
      extra: options.kernelArgs ?? [],
    }),
    memoryMiB,
    cpus,
    cpu: options.cpu ?? defaultCpu(accel),
    icount: options.icount ?? false,
    ports,
    disks,
    volumes,
    plugin: options.plugin,
  };
  const preload = ports.length === 0 ? undefined : await preloadable({ log, signal: options.signal });
  const variables = preload === undefined ? [] : [`LD_PRELOAD=${preload}`];
  const command = [...variables, QEMU, ...qemuArgs({ ...qemu, directory: '$DIR' })].map(shellQuote).join(' ');
  return { image, qemu, preload, disks, accelWhy: why, command, argv };
}

/** What the guest's init is told for this run. */
function specOf({ image, qemu, argv }: RunPlan, { env, network }: RunOptions): Buffer {
  const { name, program, run } = image.manifest;
  return encodeSpec({
    exec: program,
    argv,
    hostname: name.slice(0, 63),
    network: network === undefined ? USER_NETWORK : { kind: network },
    // With counted instructions time is not the host's, and a question would not be answered after the same number of them.
    clock: !qemu.icount,
    disks: qemu.disks.map(({ serial, path }) => ({ serial, path })),
    volumes: qemu.volumes.map(({ tag, path }) => ({ tag, path })),
    run: { env: { ...run.env, ...env }, cwd: run.cwd },
  });
}

/** A guest that was started. Disposing of it ends it. */
export interface RunningVm extends AsyncDisposable {
  readonly plan: RunPlan;
  /**
   * The program's streams, as those of a child process: read them, or name
   * others in the options, or the program waits once they are full. They are
   * empty if the options named others.
   */
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Settles when the program starts, or when it never will. */
  readonly started: Promise<void>;
  /** How the run ended; settles when the VMM is gone. */
  readonly result: Promise<RunResult>;
  /** The port of this host, on 127.0.0.1, that leads to a port of the guest. Throws UKL_USAGE if none does. */
  port(guest: number): number;
  /** Settles when the program, or who is in its network, listens on a TCP port of the guest. Throws UKL_VMM if the guest ends first. */
  listening(guest: number): Promise<void>;
  /** The lines of the program's file of that name in the guest's /proc ("maps", "net/tcp"); none before it runs and after. */
  inspect(name: string): Promise<readonly string[]>;
  /** Stops the machine, with its clock, until `resume()`. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Sends the program a signal; before it has started, ends the guest. */
  signal(name: NodeJS.Signals): void;
  /** Ends the guest at once, as a power failure would; `signal` is the reason that the result gives. */
  kill(signal?: NodeJS.Signals): void;
}

/** How often the guest is asked whether a program listens. */
const POLL_MS = 100;

/** Local port and state (0A: it listens) in a line of /proc/net/tcp. */
const LISTENING = /^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /;

async function listening(vm: Vm, port: number): Promise<void> {
  let over = false;
  const stop = (): void => {
    over = true;
  };
  const ended = vm.result.then(stop, stop);
  while (!over) {
    const lines = [...(await vm.inspect('net/tcp')), ...(await vm.inspect('net/tcp6'))];
    if (lines.some((line) => Number.parseInt(LISTENING.exec(line)?.[1] ?? '', 16) === port)) return;
    await Promise.race([ended, setTimeout(POLL_MS)]);
  }
  throw new UklError('UKL_VMM', `the guest ended before anybody listened on port ${port}`, { hint: 'ukl run, to see why' });
}

/** The image of a target: the one it is, or one made for this run in `work`. */
async function imageOf(target: string | UklConfig, work: string, options: BuildOptions): Promise<Image> {
  if (typeof target === 'string' && (await isImage(target))) return openImage(target);
  return buildTo(join(work, 'image'), await resolveTarget(target), options);
}

/** Writes what gdb needs and says how to start it. Returns the socket's path. */
async function prepareGdb({ manifest }: Image, work: string, options: Context): Promise<string> {
  const log = options.log ?? silentLog;
  const vmlinux = await findKernel(manifest.kernel.sha256);
  if (vmlinux === undefined || !existsSync(manifest.programOnHost)) {
    throw new UklError('UKL_IMAGE', 'the image was built elsewhere or with another kernel: its symbols are not here', {
      hint: 'ukl run --gdb TARGET, with the program rather than the image',
    });
  }
  const socket = join(work, 'gdb.socket');
  const script = await writeGdbScript(work, { vmlinux, program: manifest.programOnHost, socket });
  log.info(`waiting for gdb: gdb -x ${script}`);
  return socket;
}

/**
 * Starts a target (or an image) and returns as soon as the VMM is running.
 *
 *     await using vm = await run('server.ts', { ports: ['0:8080'] });
 *     const answer = await fetch(`http://127.0.0.1:${vm.port(8080)}/`);
 *
 * @throws UklError before the guest has run; afterwards `result` tells
 */
export async function run(target: string | UklConfig, options: RunOptions & BuildOptions = {}): Promise<RunningVm> {
  const work = await mkdtemp(join(tmpdir(), 'ukl-run-'));
  const clean = (): Promise<void> => rm(work, { recursive: true, force: true });
  try {
    const image = await imageOf(target, work, options);
    const planned = await plan(image, options);
    await checkPorts(planned.qemu.ports);
    for (const disk of planned.disks) await ensureDisk(disk);
    for (const volume of planned.qemu.volumes) await checkVolume(volume);
    options.signal?.throwIfAborted();
    const logFile = join(storeRoot(), 'logs', `run-${basename(image.manifest.name)}-${process.pid}-${Date.now().toString(36)}.log`);
    const gdb = options.gdb ? await prepareGdb(image, work, options) : undefined;
    const stdin = new PassThrough();
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    const errors = options.stderr ?? stderr;
    const vm = Vm.start({
      ...planned.qemu,
      preload: planned.preload,
      gdb,
      spec: specOf(planned, options),
      stdin: options.stdin ?? stdin,
      stdout: options.stdout ?? stdout,
      stderr: errors,
      logFile,
      timeoutSeconds: options.timeoutSeconds ?? image.manifest.run.timeoutSeconds,
      programOnHost: existsSync(image.manifest.programOnHost) ? image.manifest.programOnHost : undefined,
      ...(options.verbose ? { onSerial: (chunk: Buffer) => void errors.write(chunk) } : {}),
    });
    const kill = (signal: NodeJS.Signals): void => vm.kill({ kind: 'interrupted', signal });
    const abort = (): void => kill('SIGINT');
    options.signal?.addEventListener('abort', abort, { once: true });
    const result = vm.result.finally(async () => {
      options.signal?.removeEventListener('abort', abort);
      stdout.end();
      stderr.end();
      await clean();
    });
    result.catch(() => {});
    return {
      plan: planned,
      stdin,
      stdout,
      stderr,
      started: vm.started,
      result,
      port(guest) {
        const port = planned.qemu.ports.find((candidate) => candidate.guest === guest);
        if (port === undefined) throw new UklError('UKL_USAGE', `no port of this host leads to port ${guest} of the guest`, { hint: `ports: ['0:${guest}']` });
        return port.host;
      },
      listening: (guest) => listening(vm, guest),
      inspect: (name) => vm.inspect(name),
      pause: () => vm.pause(),
      resume: () => vm.resume(),
      signal: (name) => vm.signal(name),
      kill: (signal = 'SIGKILL') => kill(signal),
      async [Symbol.asyncDispose]() {
        kill('SIGTERM');
        await result.catch(() => {});
      },
    };
  } catch (error) {
    await clean();
    throw error;
  }
}

/** What `run` would do. The program is built, nothing is started. */
export async function dryRun(target: string | UklConfig, options: RunOptions & BuildOptions = {}): Promise<RunPlan> {
  const work = await mkdtemp(join(tmpdir(), 'ukl-run-'));
  try {
    return await plan(await imageOf(target, work, options), options);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
