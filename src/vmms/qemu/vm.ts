// SPDX-License-Identifier: MIT
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { StringDecoder } from 'node:string_decoder';
import { findFault, findPanic, findSetupFailure, reportsOutOfMemory, reportsReboot, setupFailure, symbolize } from '../../guest/diagnose.js';
import {
  decodeGuestLine,
  encodeGreeting,
  encodeKmsg,
  encodeProc,
  encodeSignal,
  encodeTime,
  GREETING,
  type GuestMessage,
  MAX_LINE,
} from '../../guest/protocol.js';
import { errnoOf, UklError } from '../../lib/errors.js';
import { LineSplitter } from '../../lib/lines.js';
import type { RunEnd, RunResult } from '../../model/index.js';
import { GUEST_PORTS, QEMU, type QemuOptions, qemuArgs } from './args.js';
import { Qmp } from './qmp.js';

const CHANNELS = [...GUEST_PORTS, 'serial', 'qmp'] as const;
type Channel = (typeof CHANNELS)[number];

export interface VmOptions extends Omit<QemuOptions, 'directory'> {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** What init is told, in place of what the image says. */
  readonly spec: Buffer;
  /** Gets the serial console, the kernel's log, as it comes. */
  readonly onSerial?: (chunk: Buffer) => void;
  /** The serial console is also kept in this file. */
  readonly logFile: string;
  readonly timeoutSeconds?: number | undefined;
  /** A library that QEMU is started with (LD_PRELOAD). */
  readonly preload?: string | undefined;
  /** The program's ELF on the host, for the symbol of a fault. */
  readonly programOnHost?: string | undefined;
}

/** How long a guest that is to be ended may take to say its last words. */
const LAST_WORDS_MS = 2000;

/** Records of the kernel's log that are kept: init sends 60 at a time, another guest may never stop. */
const MAX_KERNEL_LOG = 1000;

/** Signal numbers are the host's: both run Linux on x86-64. */
function signalNumber(name: NodeJS.Signals): number {
  return constants.signals[name];
}

/** A running guest. It ends with the program in it, or when it is killed. */
export class Vm {
  /** Settles once the VMM is gone and everything it said was passed on. */
  readonly result: Promise<RunResult>;

  /** Settles when the program starts, or when it never will. */
  readonly started: Promise<void>;

  readonly #options: VmOptions;
  #settleStarted: () => void = () => {};
  readonly #sockets = new Map<Channel, Socket>();
  readonly #kernelLog: string[] = [];
  readonly #started = performance.now();
  #child: ChildProcess | undefined;
  #qmp: Qmp | undefined;
  #serial = '';
  #startMs: number | undefined;
  #reported: RunEnd | undefined;
  #forced: RunEnd | undefined;
  /** Who asked for a file of /proc, in order, and what came so far. */
  readonly #inspections: { readonly lines: string[]; readonly settle: (lines: string[]) => void }[] = [];

  private constructor(options: VmOptions) {
    this.#options = options;
    this.started = new Promise((resolve) => {
      this.#settleStarted = resolve;
    });
    this.result = this.#run().finally(() => this.#settleStarted());
    this.result.catch(() => {}); // whoever awaits it is told
  }

  /** Starts QEMU. The arguments were checked before: this only fails in `result`. */
  static start(options: VmOptions): Vm {
    return new Vm(options);
  }

  /** Sends the program a signal; before it has started, ends the guest. */
  signal(name: NodeJS.Signals): void {
    const control = this.#sockets.get('control');
    if (this.#startMs === undefined || !control?.writable) this.kill({ kind: 'interrupted', signal: name });
    else control.write(encodeSignal(signalNumber(name)));
  }

  /** The lines of the program's file of that name in the guest's /proc; none if it has ended. */
  async inspect(name: string): Promise<readonly string[]> {
    const control = this.#sockets.get('control');
    const question = encodeProc(name);
    if (this.#startMs === undefined || !control?.writable) return [];
    return new Promise((settle) => {
      this.#inspections.push({ lines: [], settle });
      control.write(question);
    });
  }

  /** Stops the machine where it is, until `resume()`. */
  async pause(): Promise<void> {
    await this.#qmp?.pause();
  }

  async resume(): Promise<void> {
    await this.#qmp?.resume();
  }

  /** Ends the VMM at once. */
  kill(end: RunEnd): void {
    this.#forced ??= end;
    this.#child?.kill('SIGKILL');
  }

  async #run(): Promise<RunResult> {
    const directory = await mkdtemp(join(tmpdir(), 'ukl-'));
    await mkdir(dirname(this.#options.logFile), { recursive: true });
    const logStream = createWriteStream(this.#options.logFile);
    const servers: Server[] = [];
    const streams: Promise<unknown>[] = [];
    try {
      const connections = CHANNELS.map(async (name) => {
        const server = createServer();
        servers.push(server);
        const connected = new Promise<Socket>((resolve) => server.once('connection', resolve));
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject);
          server.listen(join(directory, name), resolve);
        });
        return { name, connected };
      });
      for (const { name, connected } of await Promise.all(connections)) {
        streams.push(
          connected.then((socket) => {
            socket.on('error', () => {});
            this.#sockets.set(name, socket);
            return this.#attach(name, socket, logStream);
          }),
        );
      }
      const vmm = await this.#runVmm(directory, servers, streams);
      for (const { lines, settle } of this.#inspections.splice(0)) settle(lines);
      await new Promise<void>((resolve) => logStream.end(resolve));
      return await this.#conclude(vmm);
    } finally {
      for (const server of servers) server.close();
      for (const socket of this.#sockets.values()) socket.destroy();
      logStream.destroy();
      await rm(directory, { recursive: true, force: true });
    }
  }

  #attach(name: Channel, socket: Socket, log: Writable): Promise<unknown> {
    const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    switch (name) {
      case 'control': {
        socket.write(encodeGreeting(this.#options.spec));
        // One more than a message may have, by which the codec knows that the line was cut.
        const splitter = new LineSplitter(MAX_LINE + 1);
        socket.on('data', (chunk: Buffer) => {
          for (const line of splitter.push(chunk)) this.#receive(decodeGuestLine(line), socket);
        });
        return ended;
      }
      case 'stdin':
        socket.write(GREETING);
        socket.resume();
        if (this.#options.stdin) {
          const { stdin } = this.#options;
          stdin.pipe(socket);
          socket.once('close', () => stdin.unpipe(socket));
        } else {
          socket.end();
        }
        return ended;
      case 'stdout':
      case 'stderr':
        // The stream is the user's: it stays open, and may be closed early (| head).
        return pipeline(socket, this.#options[name], { end: false }).catch(() => {
          socket.resume();
          return ended;
        });
      case 'serial': {
        const decoder = new StringDecoder('utf8');
        socket.on('data', (chunk: Buffer) => {
          this.#serial += decoder.write(chunk);
          log.write(chunk);
          this.#options.onSerial?.(chunk);
        });
        return ended;
      }
      case 'qmp':
        this.#qmp = new Qmp(socket);
        return ended;
    }
  }

  /** What the guest's init says: of how the program ended, the first word counts. */
  #receive(message: GuestMessage, control: Socket): void {
    switch (message.type) {
      case 'start':
        this.#startMs ??= performance.now() - this.#started;
        this.#settleStarted();
        break;
      case 'exit':
        this.#reported ??= { kind: 'exit', status: message.status };
        break;
      case 'signal':
        this.#reported ??= { kind: 'signal', signal: message.signal };
        break;
      case 'fail':
        this.#reported ??= setupFailure(message.text);
        break;
      case 'kmsg':
        this.#kernelLog.push(message.text);
        if (this.#kernelLog.length > MAX_KERNEL_LOG) this.#kernelLog.shift();
        break;
      case 'clock':
        control.write(encodeTime(Date.now()));
        break;
      case 'line':
        this.#inspections[0]?.lines.push(message.text);
        break;
      case 'end': {
        const inspection = this.#inspections.shift();
        inspection?.settle(inspection.lines);
        break;
      }
      case 'unknown':
        // A guest may say what it likes; we go by what we know.
        break;
    }
  }

  async #runVmm(
    directory: string,
    servers: readonly Server[],
    streams: readonly Promise<unknown>[],
  ): Promise<{ code: number | null; signal: string | null; stderr: string }> {
    const args = qemuArgs({ ...this.#options, directory });
    // If the tool is killed, however hard, the kernel ends QEMU (PR_SET_PDEATHSIG).
    // A process group of its own keeps the terminal's Ctrl-C from it: that is ours.
    const { preload } = this.#options;
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', QEMU, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
      ...(preload === undefined ? {} : { env: { ...process.env, LD_PRELOAD: [preload, process.env.LD_PRELOAD].filter(Boolean).join(':') } }),
    });
    this.#child = child;
    if (this.#forced) child.kill('SIGKILL');
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const timer =
      this.#options.timeoutSeconds === undefined
        ? undefined
        : setTimeout(() => void this.#timeOut(this.#options.timeoutSeconds ?? 0), this.#options.timeoutSeconds * 1000);
    try {
      const ended = await new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
        child.once('error', (error) =>
          reject(new UklError('UKL_VMM', `could not start QEMU: ${errnoOf(error) ?? error.message}`, { hint: 'ukl doctor', exitCode: 125, cause: error })),
        );
        child.once('close', (code, signal) => resolve({ code, signal }));
      });
      // Who never connected will not any more; the others end with their data.
      for (const server of servers) server.close();
      const connected = CHANNELS.filter((name) => this.#sockets.has(name)).length;
      if (connected === CHANNELS.length) await Promise.all(streams);
      return { ...ended, stderr };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Asks a guest that takes too long where it is, then ends it. */
  async #timeOut(seconds: number): Promise<void> {
    this.#forced ??= { kind: 'timeout', seconds };
    this.#sockets.get('control')?.write(encodeKmsg());
    if (this.#qmp) {
      const lastWords = new Promise<undefined>((resolve) => setTimeout(resolve, LAST_WORDS_MS, undefined));
      const where = await Promise.race([this.#qmp.instructionPointers(), lastWords]);
      if (where && where.length > 0) this.#forced = { kind: 'timeout', seconds, where: where.map((ip) => `0x${ip}`).join(', ') };
    }
    this.#child?.kill('SIGKILL');
  }

  async #conclude(vmm: { code: number | null; signal: string | null; stderr: string }): Promise<RunResult> {
    const end = await this.#explain(this.#decide(vmm));
    return {
      end,
      exitCode: exitCodeOf(end),
      timings: { ...(this.#startMs === undefined ? {} : { startMs: Math.round(this.#startMs) }), totalMs: Math.round(performance.now() - this.#started) },
      kernelLog:
        this.#kernelLog.length > 0
          ? this.#kernelLog
          : this.#serial
              .trimEnd()
              .split('\n')
              .slice(-20)
              .filter((line) => line !== ''),
      log: this.#options.logFile,
    };
  }

  #decide(vmm: { code: number | null; signal: string | null; stderr: string }): RunEnd {
    if (this.#reported && this.#reported.kind !== 'guest-setup') return this.#reported;
    const panic = findPanic(this.#serial);
    if (panic !== undefined) return { kind: 'panic', message: panic };
    const failure = this.#reported ?? findSetupFailure(this.#serial);
    if (failure) return failure;
    if (this.#forced) return this.#forced;
    if (vmm.code === 0) return { kind: reportsReboot(this.#serial) ? 'reboot' : 'triple-fault' };
    const words = vmm.stderr.trim().replace(/^qemu-system-x86_64: /gm, '');
    const how = vmm.signal ? `was killed by ${vmm.signal}` : `ended with status ${vmm.code}`;
    return { kind: 'vmm', message: `QEMU ${how}${words ? `: ${words}` : ''}` };
  }

  async #explain(end: RunEnd): Promise<RunEnd> {
    if (end.kind !== 'signal') return end;
    const found = findFault(this.#kernelLog);
    if (!found) return { ...end, outOfMemory: reportsOutOfMemory(this.#kernelLog) };
    const { fileOffset, object, ...fault } = found;
    const symbol =
      fileOffset !== undefined && this.#options.programOnHost !== undefined && object !== undefined
        ? await symbolize(this.#options.programOnHost, fileOffset)
        : undefined;
    return { ...end, fault: { ...fault, ...(symbol === undefined ? {} : { symbol }) } };
  }
}

/** The exit status that the tool has for each way a run can end. */
export function exitCodeOf(end: RunEnd): number {
  switch (end.kind) {
    case 'exit':
      return end.status;
    case 'signal':
      return 128 + end.signal;
    case 'timeout':
      return 124;
    case 'interrupted':
      return 128 + signalNumber(end.signal as NodeJS.Signals);
    case 'guest-setup':
      return 125;
    case 'panic':
    case 'triple-fault':
    case 'reboot':
    case 'vmm':
      return 255;
  }
}
