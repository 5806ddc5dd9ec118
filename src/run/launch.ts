// SPDX-License-Identifier: MIT
/** Starts a guest, and what a caller holds of it. */
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { basename, join } from 'node:path';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { resolveTarget } from '../app/target.js';
import { build, buildTo } from '../build/build.js';
import { requirements as diskRequirements, ensureDisk } from '../devices/disk.js';
import { portsOf } from '../devices/nic.js';
import { checkPorts } from '../devices/ports.js';
import { checkVolume } from '../devices/volume.js';
import type { Instance, SessionRequest, Terminal } from '../guest/spec.js';
import { ensurePackages } from '../host/requirements.js';
import { findImage } from '../image/find.js';
import { openImage } from '../image/image.js';
import { findKernel } from '../kernels/kernel.js';
import { UklError } from '../lib/errors.js';
import { silentLog } from '../lib/log.js';
import { storeRoot } from '../lib/paths.js';
import { makeScratch, ownerMark } from '../lib/scratch.js';
import type { Image, Machine, RunResult } from '../model/index.js';
import type { UklConfig } from '../options/config.js';
import type { BuildOptions, Context, RunOptions } from '../options/given.js';
import { optionsIn } from '../options/options.js';
import { pruneLogs } from '../store/logs.js';
import { vmms } from '../vmms/index.js';
import { writeGdbScript } from './gdb.js';
import { Guest } from './guest.js';
import type { GuestState } from './life.js';
import { plan, type RunPlan, specOf } from './plan.js';
import { listening } from './ready.js';
import { type Snapshot, saveRunning } from './saved.js';
import { openSession, type Session } from './session.js';

/** Of a further program. */
export interface ExecOptions extends Omit<SessionRequest, 'argv'> {
  /** Hangs up on it. */
  readonly signal?: AbortSignal | undefined;
}

/** A guest that was started. Disposing of it ends it. */
export interface RunningVm extends AsyncDisposable {
  readonly plan: RunPlan;
  readonly state: GuestState;
  /**
   * The program's streams, as those of a child process. Read them or pass your
   * own in the options, or the guest blocks when the pipe fills. They are empty
   * if the options named others.
   */
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Settles when the program starts, or when it never will. */
  readonly started: Promise<void>;
  /** Settles when the program says that it is ready (docs/snapshots.md), or when it never will. */
  readonly ready: Promise<void>;
  /** How the run ended; settles when the VMM is gone. */
  readonly result: Promise<RunResult>;
  /** The port of this host that leads to a port of the guest. Throws UKL_USAGE if none does. */
  port(guest: number): number;
  /** Settles when the program, or another process in its network, listens on a TCP port of the guest. Throws UKL_VMM if the guest ends first. */
  listening(guest: number): Promise<void>;
  /** The lines of the program's file of that name in the guest's /proc ("maps", "net/tcp"); none before it runs and after. */
  inspect(name: string): Promise<readonly string[]>;
  /** The guest's memory at a kernel's address, as the first processor sees it. Throws UKL_VMM if there is none. */
  memory(address: bigint, bytes: number): Promise<Buffer>;
  /** Runs another program of the guest's, in ring 3, beside the image's. Throws UKL_VMM if the guest does not run. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<Session>;
  /** A connection on which a session can begin, for `openSession`. */
  connect(): Promise<Socket>;
  /** The VMM's process on this host. */
  readonly pid: number | undefined;
  /** How often the machine's processors have left the guest for KVM since the start; undefined in emulation. */
  exits(): Promise<number | undefined>;
  /** Stops the machine until `resume()`. Throws UKL_VMM if it cannot be stopped now. */
  pause(): Promise<void>;
  /** Settles once the guest's clock has the time again. Timers of its programs have stood still. */
  resume(): Promise<void>;
  /**
   * Saves the guest as it is, under a name; `run({ fromSnapshot: name })` goes on from that, and so does this one.
   *
   * @throws UKL_USAGE for what cannot be saved or a name that is taken, UKL_VMM if it ends meanwhile, UKL_DISK_FULL
   */
  save(name: string): Promise<Snapshot>;
  /** The same without a name: its `memory` and its `state` in a directory. */
  saveFiles(directory: string): Promise<void>;
  /** Sends the program a signal; before it has started, ends the guest. */
  signal(name: NodeJS.Signals): void;
  /** The new size of the program's terminal, if it was started with one. */
  resize(terminal: Terminal): void;
  /** Ends the guest at once, as a power failure would; `signal` is the reason that the result gives. */
  kill(signal?: NodeJS.Signals): void;
}

/** An image that was given in place of a program. Throws UKL_USAGE if it is to be built otherwise. */
export async function openGiven(path: string, options: BuildOptions): Promise<Image> {
  const ignored = optionsIn('build').find((name) => !isDefault(options[name]));
  if (ignored !== undefined) {
    throw new UklError('UKL_USAGE', `${path} is an image, which '${ignored}' cannot change`, { hint: 'give it to ukl build, with the program' });
  }
  return openImage(path);
}

/** What a guest goes on from, in place of a start. */
export interface Origin {
  /** Files. */
  readonly memory: string;
  readonly state: string;
  /** Settles once the guest is wanted. */
  readonly instance: Promise<Instance>;
  /** Called once it has the state, and waits. */
  readonly onLoaded: () => void;
}

/** The image of a target, the one it is or one made for this run in `work`, with the options that are left for the run. */
export async function imageOf<Options extends RunOptions & BuildOptions>(
  target: string | UklConfig,
  work: string | undefined,
  options: Options,
): Promise<readonly [Image, Options]> {
  const given = typeof target === 'string' ? await findImage(target, { log: options.log ?? silentLog, signal: options.signal }) : undefined;
  // What came into the store from a registry has its disks where the user is.
  if (given !== undefined) return [{ ...(await openGiven(given, options)), ...(given === target ? {} : { beside: process.cwd() }) }, options];
  const resolved = await resolveTarget(target);
  const container = resolved.config.image !== undefined;
  // What is only run need not be small, and an ELF is not decompressed.
  const made = { container: 'elf', ...options, ...(container && options.args?.length ? { words: options.args } : {}) } as const;
  const image = work === undefined ? await build(target, made) : await buildTo(join(work, 'image'), resolved, made);
  // A container's program may be one of the words.
  return [image, container ? { ...options, args: [] } : options];
}

const isDefault = (value: unknown): boolean => value === undefined || (Array.isArray(value) && value.length === 0);

/** Writes what gdb needs and says how to start it. Returns the socket's path. */
async function prepareGdb({ manifest, host }: Image, work: string, options: Context): Promise<string> {
  const log = options.log ?? silentLog;
  const vmlinux = await findKernel(manifest.kernel.sha256);
  if (vmlinux === undefined || host === undefined || !existsSync(host.program)) {
    throw new UklError('UKL_IMAGE', 'the image was built elsewhere or with another kernel: its symbols are not here', {
      hint: 'ukl run --gdb TARGET, with the program rather than the image',
    });
  }
  const socket = join(work, 'gdb.socket');
  const script = await writeGdbScript(work, { vmlinux, program: host.program, socket });
  log.info(`waiting for gdb: gdb -x ${script}`);
  return socket;
}

async function newLogFile(name: string): Promise<string> {
  const directory = join(storeRoot(), 'logs');
  await pruneLogs(directory);
  return join(directory, `run-${basename(name)}-${ownerMark()}-${Date.now().toString(36)}.log`);
}

/** Starts a target, or an image; see `run`. */
export const runTarget = (target: string | UklConfig, options: RunOptions & BuildOptions): Promise<RunningVm> =>
  start((work) => imageOf(target, work, options), options);

/** Starts an image that is open already; otherwise as `runTarget`. */
export const runImage = (image: Image, options: RunOptions, origin?: Origin): Promise<RunningVm> => start(async () => [image, options], options, origin);

async function start(getImage: (work: string) => Promise<readonly [Image, RunOptions]>, given: RunOptions, origin?: Origin): Promise<RunningVm> {
  const scratch = await makeScratch('run');
  const work = scratch.path;
  const clean = async (): Promise<void> => scratch[Symbol.asyncDispose]();
  try {
    await ensurePackages(given.log ?? silentLog, vmms.get(given.vmm ?? 'qemu').requirements, given.signal);
    const [image, options] = await getImage(work);
    const planned = await plan(image, options);
    const { vmm } = planned;
    const machine: Machine = { ...planned.machine, saved: origin?.memory };
    const ports = portsOf(machine);
    await checkPorts(ports);
    await ensurePackages(options.log ?? silentLog, vmm.firmwareRequirements?.(machine.firmware) ?? [], options.signal);
    if (machine.disks.length > 0) await ensurePackages(options.log ?? silentLog, diskRequirements, options.signal);
    for (const disk of machine.disks) await ensureDisk(disk);
    for (const share of machine.shares) await checkVolume(share);
    options.signal?.throwIfAborted();
    const gdb = options.gdb ? await prepareGdb(image, work, options) : undefined;
    const stdin = new PassThrough();
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    const errors = options.stderr ?? stderr;
    const program = image.host?.program;
    const guest = new Guest(vmm, {
      machine: { ...machine, gdb },
      preload: planned.preload,
      spec: specOf(planned),
      saved: origin,
      holdsReady: options.holdsReady,
      stdin: options.stdin ?? stdin,
      stdout: options.stdout ?? stdout,
      stderr: errors,
      logFile: await newLogFile(image.manifest.name),
      timeoutSeconds: planned.timeoutSeconds,
      programOnHost: program !== undefined && existsSync(program) ? program : undefined,
      ...(options.verbose ? { onSerial: (chunk: Buffer) => void errors.write(chunk) } : {}),
    });
    const kill = (signal: NodeJS.Signals): void => guest.kill({ kind: 'interrupted', signal });
    const abort = (): void => kill('SIGINT');
    options.signal?.addEventListener('abort', abort, { once: true });
    if (options.signal?.aborted) abort();
    const result = guest.result.finally(async () => {
      options.signal?.removeEventListener('abort', abort);
      stdout.end();
      stderr.end();
      await clean();
    });
    result.catch(() => {});
    await guest.booting;
    return {
      plan: planned,
      get state() {
        return guest.state;
      },
      stdin,
      stdout,
      stderr,
      started: guest.started,
      ready: guest.ready,
      result,
      port(wanted) {
        const port = ports.find((candidate) => candidate.guest === wanted);
        if (port === undefined)
          throw new UklError('UKL_USAGE', `no port of this host leads to port ${wanted} of the guest`, { hint: `ports: ['0:${wanted}']` });
        return port.host;
      },
      listening: (port) => listening(guest, port),
      inspect: (name) => guest.inspect(name),
      memory: (address, bytes) => guest.memory(address, bytes),
      exec: async (argv, { signal, ...request } = {}) => openSession(await guest.connect(), { argv, ...request }, signal),
      connect: () => guest.connect(),
      get pid() {
        return guest.pid;
      },
      exits: () => guest.exits(),
      pause: () => guest.pause(),
      resume: () => guest.resume(),
      save: (name) => saveRunning(name, planned, options, (directory) => guest.save(directory)),
      saveFiles: (directory) => guest.save(directory),
      signal: (name) => guest.signal(name),
      resize: (terminal) => guest.resize(terminal),
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

/** What `run` would do. The image is built where `build` puts it, for the command to name; nothing is started. */
export async function dryRun(target: string | UklConfig, options: RunOptions & BuildOptions = {}): Promise<RunPlan> {
  return plan(...(await imageOf(target, undefined, options)));
}
