// SPDX-License-Identifier: MIT
/** A running guest: its life, its streams, what its init reports, and how it ended. */
import { createWriteStream } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as elapse } from 'node:timers/promises';
import {
  findEnd,
  findFault,
  findMissingCalls,
  findPanic,
  findSetupFailure,
  reportsOutOfMemory,
  reportsReboot,
  setupFailure,
  symbolize,
} from '../guest/diagnose.js';
import {
  decodeGuestLine,
  encodeExec,
  encodeGo,
  encodeGreeting,
  encodeKmsg,
  encodeProc,
  encodeResume,
  encodeSave,
  encodeSignal,
  encodeTime,
  encodeWindow,
  GREETING,
  type GuestMessage,
  MAX_LINE,
} from '../guest/protocol.js';
import { encodeInstance, type Instance, type Terminal } from '../guest/spec.js';
import { asUklError, UklError } from '../lib/errors.js';
import { LineSplitter } from '../lib/lines.js';
import { makeScratch } from '../lib/scratch.js';
import { statusOfEnd } from '../model/exit-status.js';
import type { Machine, RunEnd, RunResult } from '../model/index.js';
import { type ChannelName, channelsOf, type Vmm, type VmmExit, type VmmProcess } from '../vmms/vmm.js';
import { type GuestState, Life } from './life.js';

export interface GuestOptions {
  readonly machine: Machine;
  readonly preload?: string | undefined;
  readonly stdin: Readable | undefined;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** What init is told, in place of what the image says. */
  readonly spec: Buffer;
  /** What the guest goes on from, in place of a start; and as what, a promise that settles once the guest is wanted and never rejects. */
  readonly saved?: { readonly state: string; readonly instance: Promise<Instance>; readonly onLoaded: () => void } | undefined;
  /** A program that says it is ready waits to be saved. */
  readonly holdsReady?: boolean | undefined;
  /** Gets the serial console, the kernel's log, as it comes. */
  readonly onSerial?: (chunk: Buffer) => void;
  /** The serial console is also kept in this file. */
  readonly logFile: string;
  readonly timeoutSeconds?: number | undefined;
  /** The program's ELF on the host, for the symbol of a fault. */
  readonly programOnHost?: string | undefined;
}

/** Records of the kernel's log that are kept: init sends the last 60. */
const MAX_KERNEL_LOG = 1000;

/** Characters of the serial console that are kept: the last words count. The log file has all of it. */
const MAX_SERIAL = 4 * 1024 * 1024;

/** Lines of a file in /proc that are taken. */
const MAX_LINES = 100_000;

/** How long a guest that stood still is waited for to set its clock. */
const CLOCK_MS = 2000;

/** How long a guest that is to be ended may take to say its last words. */
const LAST_WORDS_MS = 2000;

/** How long a guest may wait for the VMM to stop it once no program runs in it; its own limit is HOLD_MS in guest/init/resume.c. */
const HELD_MS = 250;

/** How long the guest may take to clear its free memory and to stop its programs. */
const HOLD_MS = 120_000;

/** How often a guest is tried to be saved on a host that is too busy. */
const SAVE_TRIES = 5;

/** Signal numbers are the host's: both run Linux on x86-64. */
function signalNumber(name: NodeJS.Signals): number {
  return constants.signals[name];
}

/** A guest. It ends with the program in it, or when it is killed. */
export class Guest {
  /** Settles once the VMM is gone and all its output was passed on. */
  readonly result: Promise<RunResult>;
  /** Settles when the VMM runs, or when it never will. */
  readonly booting: Promise<void>;
  /** Settles when the program starts, or when it never will. */
  readonly started: Promise<void>;
  /** Settles when the program says that it is ready, or when it never will. */
  readonly ready: Promise<void>;

  readonly #vmm: Vmm;
  readonly #options: GuestOptions;
  readonly #life = new Life();
  #begin = performance.now();
  readonly #sockets = new Map<ChannelName, Socket>();
  readonly #kernelLog: string[] = [];
  /** Requests for files of /proc, in order, with the lines that came so far. */
  readonly #requests: { readonly lines: string[]; readonly settle: (lines: string[]) => void }[] = [];
  #settleBooting: () => void = () => {};
  #settleStarted: () => void = () => {};
  #settleReady: () => void = () => {};
  #settleHeld: () => void = () => {};
  #settleTimed: () => void = () => {};
  #process: VmmProcess | undefined;
  #serial = '';
  #startMs: number | undefined;
  #reported: RunEnd | undefined;
  #forced: RunEnd | undefined;
  #saving = false;
  /** Settles when it is not being saved any more. */
  #saved: Promise<void> = Promise.resolve();
  readonly #unsaid: string[] = [];

  /** Starts the VMM. The machine was checked before: from here on, failures are in `result`. */
  constructor(vmm: Vmm, options: GuestOptions) {
    this.#vmm = vmm;
    this.#options = options;
    this.booting = new Promise((resolve) => {
      this.#settleBooting = resolve;
    });
    this.started = new Promise((resolve) => {
      this.#settleStarted = resolve;
    });
    this.ready = new Promise((resolve) => {
      this.#settleReady = resolve;
    });
    this.result = this.#run().finally(() => {
      this.#life.ended();
      this.#settleBooting();
      this.#settleStarted();
      this.#settleReady();
      this.#settleHeld();
      this.#settleTimed();
    });
    this.result.catch(() => {}); // each caller that awaits it is told
  }

  /** Whether PID 1 takes messages: kmain() only sends them. */
  get hears(): boolean {
    return this.#options.machine.transport === 'virtio-serial';
  }

  get state(): GuestState {
    return this.#life.state;
  }

  /** Says something to init. What it would not hear while the guest is saved waits. */
  #say(message: string): void {
    if (this.#saving) this.#unsaid.push(message);
    else this.#sockets.get('control')?.write(message);
  }

  /** Sends the program a signal; before it has started, ends the guest. */
  signal(name: NodeJS.Signals): void {
    const control = this.#sockets.get('control');
    if (this.#startMs === undefined || !control?.writable || !this.hears) this.kill({ kind: 'interrupted', signal: name });
    else this.#say(encodeSignal(signalNumber(name)));
  }

  /** Of the program's terminal, if it has one. */
  resize(terminal: Terminal): void {
    if (this.hears && this.#startMs !== undefined) this.#say(encodeWindow(terminal));
  }

  /** The lines of the program's file of that name in the guest's /proc; none if it has ended. */
  async inspect(name: string): Promise<readonly string[]> {
    const control = this.#sockets.get('control');
    const question = encodeProc(name);
    if (this.#startMs === undefined || !control?.writable || !this.hears) return [];
    return new Promise((settle) => {
      this.#requests.push({ lines: [], settle });
      this.#say(question);
    });
  }

  /** The VMM's process on this host. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** As the VMM counts them. */
  async exits(): Promise<number | undefined> {
    return this.#process?.exits();
  }

  /** A connection on which a session can begin. Throws UKL_VMM if there is no program yet, UKL_USAGE if PID 1 takes no messages. */
  async connect(): Promise<Socket> {
    if (!this.hears)
      throw new UklError('UKL_USAGE', 'a guest without an init runs one program and no other', { hint: "profile: 'server', or fit with needs: ['init']" });
    // A port that is added meanwhile would be one that its clones do not have.
    await this.#saved;
    const control = this.#sockets.get('control');
    if (this.#startMs === undefined || this.#process === undefined || !control?.writable)
      throw new UklError('UKL_VMM', 'the program has not started, or has ended', { hint: 'ukl ps -a' });
    const { session, socket } = await this.#process.openPort();
    socket.write(GREETING);
    this.#say(encodeExec(session));
    return socket;
  }

  /** Stops the machine where it is, until `resume()`. Throws UKL_VMM if the guest cannot be paused now. */
  async pause(): Promise<void> {
    this.#refuseWhileSaved();
    await this.#stop();
  }

  async #stop(): Promise<void> {
    this.#life.enter('paused', 'pause');
    await this.#process?.pause().catch((error: unknown) => {
      if (this.#life.state === 'paused') this.#life.resumed();
      throw error;
    });
  }

  /** Settles once its clock is right again. A guest that does not set it goes on without. */
  async resume(): Promise<void> {
    this.#refuseWhileSaved();
    this.#life.resumed();
    const asked = this.#startMs !== undefined && this.hears;
    const timed = new Promise<void>((resolve) => {
      this.#settleTimed = resolve;
    });
    // Said before it goes on, it is what init hears first.
    if (asked) this.#sockets.get('control')?.write(encodeTime(Date.now()));
    await this.#process?.resume();
    const limit = new AbortController();
    if (asked) await Promise.race([timed, elapse(CLOCK_MS, undefined, { signal: limit.signal }).catch(() => {})]);
    limit.abort();
  }

  #refuseWhileSaved(): void {
    if (this.#saving) throw new UklError('UKL_USAGE', 'the guest is being saved', { hint: 'wait until that is done' });
  }

  /**
   * Saves the guest as it is: `memory` and `state` in a directory. It goes on
   * then, with a seed of its own.
   *
   * @throws UKL_USAGE for one that is paused or being saved, UKL_VMM if it ends meanwhile, or the system's error if the files cannot be written
   */
  async save(directory: string): Promise<void> {
    this.#refuseWhileSaved();
    const { state } = this.#life;
    if (state === 'paused') throw new UklError('UKL_USAGE', 'a guest that is paused is not saved', { hint: 'let it go on first' });
    if (state !== 'running')
      throw new UklError('UKL_VMM', `the guest ${state === 'ended' ? 'has ended' : 'has not started'}: it cannot be saved`, { hint: 'ukl ps -a' });
    if ((this.#process?.sessions ?? 0) > 0)
      throw new UklError('UKL_USAGE', 'a program runs beside that of the guest, and its clones would not have the connection', {
        hint: 'end it (ukl exec), or wait for it',
      });
    this.#saving = true;
    const saving = this.#trySaving(directory);
    this.#saved = saving.catch(() => {});
    await saving;
  }

  async #trySaving(directory: string): Promise<void> {
    try {
      for (let tries = 1; !(await this.#trySave(directory)); tries++)
        if (tries === SAVE_TRIES) throw new UklError('UKL_VMM', 'the host is too busy to stop the guest in time', { hint: 'try again with less load' });
    } finally {
      this.#saving = false;
      for (const message of this.#unsaid.splice(0)) this.#say(message);
    }
  }

  /** False if the guest was stopped too late. */
  async #trySave(directory: string): Promise<boolean> {
    const since = await this.#hold();
    try {
      await this.#stop();
      if (performance.now() - since > HELD_MS) return false;
      await this.#process?.save({ memory: join(directory, 'memory'), state: join(directory, 'state') });
      return true;
    } finally {
      this.#release();
      // Whether it has ended meanwhile is what the failure is about.
      if (this.#life.state === 'paused') {
        this.#life.resumed();
        await this.#process?.resume();
      }
    }
  }

  /** Has programs run again. */
  #release(): void {
    this.#sockets.get('control')?.write(encodeResume(encodeInstance({})));
  }

  /** Has no program run; when that was. Throws UKL_VMM if the guest has ended, or does not answer. */
  async #hold(): Promise<number> {
    const held = new Promise<void>((resolve) => {
      this.#settleHeld = resolve;
    });
    this.#sockets.get('control')?.write(encodeSave());
    const timer = new AbortController();
    const late = elapse(HOLD_MS, true, { signal: timer.signal }).catch(() => false);
    const passed = await Promise.race([held.then(() => false), late]);
    timer.abort();
    if (this.#life.state === 'ended') throw new UklError('UKL_VMM', 'the guest ended before it could be saved', { hint: 'ukl run, to see why' });
    if (passed)
      throw new UklError('UKL_VMM', `the guest did not stop its programs within ${HOLD_MS / 1000} seconds`, { hint: 'try again when it has less to do' });
    return performance.now();
  }

  /** The guest's memory at a kernel's address, as the first processor sees it. Throws UKL_VMM if there is none, or no guest. */
  async memory(address: bigint, bytes: number): Promise<Buffer> {
    if (this.#process === undefined) throw new UklError('UKL_VMM', 'the guest has no memory before it runs');
    await using scratch = await makeScratch('memory');
    const file = join(scratch.path, 'memory');
    await this.#process.saveMemory(address, bytes, file);
    return await readFile(file);
  }

  /** Ends the VMM at once. */
  kill(end: RunEnd): void {
    this.#forced ??= end;
    this.#process?.kill();
  }

  async #run(): Promise<RunResult> {
    await using scratch = await makeScratch('vmm');
    const { logFile, machine, preload, timeoutSeconds } = this.#options;
    const channels = channelsOf(machine.transport);
    await mkdir(dirname(logFile), { recursive: true });
    const log = createWriteStream(logFile);
    // A full disk costs the log, not the guest.
    log.on('error', () => log.destroy());
    const timer = new AbortController();
    try {
      const process = await this.#vmm.start(machine, { directory: scratch.path, preload });
      this.#process = process;
      if (this.#forced) process.kill();
      this.#life.enter('booting', 'boot');
      this.#settleBooting();
      const streams = channels.map(async (name) => {
        const socket = await process.channels[name];
        if (socket === undefined) return;
        socket.on('error', () => {});
        this.#sockets.set(name, socket);
        await this.#attach(name, socket, log);
      });
      void this.#goOn(process).then(() => {
        if (timeoutSeconds !== undefined) void this.#timeOutAfter(timeoutSeconds, timer.signal);
      });
      const exit = await process.exit;
      timer.abort();
      // The streams of a VMM that never got as far as to connect would be waited for in vain.
      if (this.#sockets.size === channels.length) await Promise.all(streams);
      for (const { lines, settle } of this.#requests.splice(0)) settle(lines);
      if (!log.destroyed) await new Promise<void>((resolve) => log.end(() => resolve()));
      return await this.#conclude(exit);
    } catch (error) {
      this.#process?.kill();
      throw error;
    } finally {
      timer.abort();
      for (const socket of this.#sockets.values()) socket.destroy();
      log.destroy();
    }
  }

  /** Has a machine that waits take its state; it goes on once its instance is wanted. */
  async #goOn(process: VmmProcess): Promise<void> {
    const { saved } = this.#options;
    if (saved === undefined) return;
    try {
      await process.loadState(saved.state);
      saved.onLoaded();
      // It still has the hardware address of the one that was saved, until it goes on as another.
      await process.connectNetworks(false);
      void this.started.then(() => process.connectNetworks(true)).catch(() => {});
      const instance = await saved.instance;
      this.#begin = performance.now();
      (await process.channels.control)?.write(encodeResume(encodeInstance(instance)));
      await process.resume();
    } catch (error) {
      // How the VMM ended says more.
      if (this.#life.state !== 'ended') this.#forced ??= { kind: 'vmm', message: asUklError(error).message };
      process.kill();
    }
  }

  /** Connects a channel with the streams of the options; settles when it is closed. */
  #attach(name: ChannelName, socket: Socket, log: Writable): Promise<unknown> {
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    switch (name) {
      case 'control': {
        if (this.hears && this.#options.saved === undefined) socket.write(encodeGreeting(this.#options.spec));
        // One more than a message may have, by which the codec knows that the line was cut.
        const lines = new LineSplitter(MAX_LINE + 1);
        socket.on('data', (chunk: Buffer) => {
          for (const line of lines.push(chunk)) this.#receive(decodeGuestLine(line), socket);
        });
        return closed;
      }
      case 'stdin': {
        // Of a connection that is ended before the guest knows of it, it cannot tell whether one comes.
        const known = this.#options.saved === undefined ? new Promise((resolve) => socket.once('data', resolve)) : Promise.resolve();
        if (this.#options.saved === undefined) socket.write(GREETING);
        socket.resume();
        const end = (): void => void known.then(() => socket.end());
        const { stdin } = this.#options;
        if (stdin === undefined || stdin.readableEnded) end();
        else {
          stdin.pipe(socket, { end: false });
          stdin.once('end', end);
          socket.once('close', () => stdin.unpipe(socket));
        }
        return closed;
      }
      case 'stdout':
      case 'stderr':
        // The stream is the user's: it stays open, and may be closed early (| head).
        return pipeline(socket, this.#options[name], { end: false }).catch(() => {
          socket.resume();
          return closed;
        });
      case 'serial': {
        const decoder = new StringDecoder('utf8');
        socket.on('data', (chunk: Buffer) => {
          this.#serial = (this.#serial + decoder.write(chunk)).slice(-MAX_SERIAL);
          if (!log.destroyed) log.write(chunk);
          this.#options.onSerial?.(chunk);
          if (this.#options.machine.transport !== 'console' || this.#options.stdout.write(chunk)) return;
          socket.pause();
          this.#options.stdout.once('drain', () => socket.resume());
        });
        return closed;
      }
    }
  }

  /** A message of the guest's init. Of how the program ended, the first counts. */
  #receive(message: GuestMessage, control: Socket): void {
    switch (message.type) {
      case 'start':
        this.#startMs ??= performance.now() - this.#begin;
        this.#life.started();
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
        // A guest that asks without reading gets no more answers.
        if (!control.writableNeedDrain) control.write(encodeTime(Date.now()));
        break;
      case 'line':
        if ((this.#requests[0]?.lines.length ?? MAX_LINES) < MAX_LINES) this.#requests[0]?.lines.push(message.text);
        break;
      case 'end': {
        const request = this.#requests.shift();
        request?.settle(request.lines);
        break;
      }
      case 'ready':
        this.#settleReady();
        if (!this.#options.holdsReady) this.#say(encodeGo());
        break;
      case 'held':
        // Nobody waits any more, or did ever.
        if (!this.#saving) this.#release();
        this.#settleHeld();
        break;
      case 'timed':
        this.#settleTimed();
        break;
      case 'unknown':
        // A hostile guest can send anything; only what is known counts.
        break;
    }
  }

  /** Asks a guest that takes too long where it is, then ends it. */
  async #timeOutAfter(seconds: number, signal: AbortSignal): Promise<void> {
    const passed = await elapse(seconds * 1000, true, { signal }).catch(() => false);
    if (!passed) return;
    this.#forced ??= { kind: 'timeout', seconds };
    if (this.hears) this.#sockets.get('control')?.write(encodeKmsg());
    const where = await Promise.race([this.#process?.instructionPointers(), elapse(LAST_WORDS_MS, undefined)]).catch(() => undefined);
    if (where && where.length > 0) this.#forced = { kind: 'timeout', seconds, where: where.map((ip) => `0x${ip}`).join(', ') };
    this.#process?.kill();
  }

  async #conclude(exit: VmmExit): Promise<RunResult> {
    const end = await this.#explain(this.#decide(exit));
    return {
      end,
      exitCode: statusOfEnd(end),
      timings: {
        ...(this.#startMs === undefined ? {} : { startMs: Math.round(this.#startMs) }),
        totalMs: Math.round(performance.now() - this.#begin),
      },
      kernelLog:
        this.#kernelLog.length > 0
          ? this.#kernelLog
          : this.#serial
              .trimEnd()
              .split('\n')
              .slice(-20)
              .filter((line) => line !== ''),
      missingCalls: await findMissingCalls(this.#serial),
      log: this.#options.logFile,
    };
  }

  /** How the run ended: init's report counts most, then the kernel's last words, then what was done to it. */
  #decide(exit: VmmExit): RunEnd {
    if (this.#reported && this.#reported.kind !== 'guest-setup') return this.#reported;
    const told = this.#options.machine.transport === 'console' ? findEnd(this.#serial) : undefined;
    if (told !== undefined) return told;
    const panic = findPanic(this.#serial);
    if (panic !== undefined) return { kind: 'panic', message: panic };
    const failure = this.#reported ?? findSetupFailure(this.#serial);
    if (failure) return failure;
    if (this.#forced) return this.#forced;
    if (exit.code === 0) return { kind: reportsReboot(this.#serial) ? 'reboot' : 'triple-fault' };
    // Nothing of the machine ever ran: the VMM refused it.
    if (this.#sockets.size === 0)
      throw new UklError('UKL_VMM', `${this.#vmm.title} could not start the machine${exit.stderr === '' ? '' : `: ${exit.stderr}`}`, {
        hint: 'ukl run --dry-run, for its command line',
      });
    const how = exit.signal ? `was killed by ${exit.signal}` : `ended with status ${exit.code}`;
    return { kind: 'vmm', message: `${this.#vmm.title} ${how}${exit.stderr === '' ? '' : `: ${exit.stderr}`}` };
  }

  async #explain(end: RunEnd): Promise<RunEnd> {
    if (end.kind !== 'signal') return end;
    const found = findFault(this.#kernelLog);
    if (!found) return { ...end, outOfMemory: reportsOutOfMemory(this.#kernelLog) };
    const { fileOffset, object, ...fault } = found;
    const { programOnHost } = this.#options;
    const symbol = fileOffset !== undefined && programOnHost !== undefined && object !== undefined ? await symbolize(programOnHost, fileOffset) : undefined;
    return { ...end, fault: { ...fault, ...(symbol === undefined ? {} : { symbol }) } };
  }
}
