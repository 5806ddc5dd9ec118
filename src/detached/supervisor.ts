// SPDX-License-Identifier: MIT
/**
 * The process that stands behind a detached guest: starts it, again if its
 * policy says so, keeps what it prints, and answers who asks for it. There is
 * one for each guest and none for all. If it is killed, the kernel ends the VMM
 * with it (src/lib/leash.ts).
 */
import { EventEmitter, once } from 'node:events';
import { rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { setTimeout as elapse } from 'node:timers/promises';
import { portsOf } from '../devices/nic.js';
import { encodeFrame, encodeRoom, FRAME_MAX, FrameSplitter, framesOf } from '../guest/frames.js';
import { asUklError, UklError } from '../lib/errors.js';
import { EXIT } from '../model/exit-status.js';
import { TIMEOUT_MAX } from '../model/image.js';
import type { RunResult } from '../model/index.js';
import type { RunOptions } from '../options/given.js';
import { describeEnd } from '../run/end.js';
import type { RunningVm } from '../run/launch.js';
import { run } from '../run/run.js';
import type { Snapshot } from '../run/saved.js';
import { restoreFiles } from '../run/snapshot.js';
import { logEvent } from './events.js';
import { watchHealth } from './health.js';
import { Journal } from './journal.js';
import { joinCpuLimit, leaveGroup } from './limits.js';
import { openPort } from './network.js';
import { type GuestSpec, type GuestStatus, release, snapshotOf, socketOf, writeStatus } from './record.js';
import { Restarter } from './restart.js';
import { serve, UPGRADED } from './server.js';
import { type Usage, usageOf } from './usage.js';

/** Output that a slow reader of `ukl attach` may be behind; one that is slower is let go. */
const BEHIND_BYTES = 8 * 1024 * 1024;

/** A signal's name, as `kill -s` takes it: with SIG or without. Throws UKL_USAGE. */
function signalOf(text: string | null): NodeJS.Signals {
  const name = (text ?? '').toUpperCase();
  const full = name.startsWith('SIG') ? name : `SIG${name}`;
  if (!/^SIG[A-Z0-9]+$/.test(full)) throw new UklError('UKL_USAGE', `'${text}' is no signal`, { hint: 'HUP, TERM, KILL, USR1' });
  return full as NodeJS.Signals;
}

/** Throws UKL_USAGE for what is longer than a timer can wait: that would be over at once. */
function secondsOf(text: string | null): number {
  const seconds = Number(text ?? 10);
  if (seconds >= 0 && seconds <= TIMEOUT_MAX) return seconds;
  throw new UklError('UKL_USAGE', `a program cannot have ${text} seconds to end`, { hint: `0 to ${TIMEOUT_MAX}` });
}

export class Supervisor {
  readonly #spec: GuestSpec;
  readonly #journal: Journal;
  readonly #restarter: Restarter;
  readonly #attached = new Set<Socket>();
  readonly #events = new EventEmitter();
  /** Aborts a wait for the next start. */
  readonly #over = new AbortController();
  #status: GuestStatus;
  #written: Promise<void> = Promise.resolve();
  #vm: RunningVm | undefined;
  #stdin: PassThrough | undefined;

  constructor(spec: GuestSpec) {
    this.#spec = spec;
    this.#journal = new Journal(spec.name);
    this.#restarter = new Restarter(spec.restart);
    this.#status = { state: 'starting', pid: process.pid, restarts: 0, ports: [] };
  }

  async #change(change: Partial<GuestStatus>): Promise<void> {
    const before = this.#status;
    this.#status = { ...before, ...change };
    // A full disk costs what others can read later, not the guest.
    // One after another: the last is what stays.
    this.#written = this.#written.then(() => writeStatus(this.#spec.name, this.#status)).catch(() => {});
    await this.#written;
    if (change.state !== undefined && change.state !== before.state) await logEvent(this.#spec.name, change.state, this.#status.exitCode);
    if (change.health !== undefined && change.health !== before.health) await logEvent(this.#spec.name, change.health);
  }

  #running(): RunningVm {
    if (this.#vm === undefined) throw new UklError('UKL_VMM', `'${this.#spec.name}' does not run now`, { hint: `ukl restart ${this.#spec.name}` });
    return this.#vm;
  }

  #tell(type: 'o' | 'e', chunk: Buffer): void {
    for (const socket of this.#attached) {
      for (const frame of framesOf(type, chunk)) socket.write(frame);
      if (socket.writableLength > BEHIND_BYTES) socket.destroy();
    }
  }

  /** Runs the guest until it ends for good; `started` is called when its program first runs. */
  async supervise(started: () => void): Promise<number> {
    const { name, cpuLimit } = this.#spec;
    const server = await this.#listen();
    try {
      if (cpuLimit !== undefined) await this.#change({ group: await joinCpuLimit(name, cpuLimit) });
      for (;;) {
        const begin = Date.now();
        const { exitCode, reason } = await this.#runOnce(started);
        const wait = this.#over.signal.aborted ? undefined : this.#restarter.next({ exitCode, ranMs: Date.now() - begin });
        const end = { exitCode, reason, ended: new Date().toISOString(), vmmPid: undefined, health: undefined };
        await this.#change({ ...end, state: wait === undefined ? 'exited' : 'restarting', restarts: this.#restarter.times });
        if (wait === undefined) return exitCode;
        await elapse(wait, undefined, { signal: this.#over.signal }).catch(() => {});
        if (!this.#over.signal.aborted) continue;
        await this.#change({ state: 'exited' });
        return exitCode;
      }
    } catch (error) {
      await this.#change({ state: 'exited', exitCode: EXIT.beforeRun, reason: asUklError(error).message, ended: new Date().toISOString() });
      throw error;
    } finally {
      await this.#end(server);
    }
  }

  async #listen(): Promise<Server> {
    const path = socketOf(this.#spec.name);
    // Left by one that was killed: nobody else has our name, see claim().
    await rm(path, { force: true });
    return serve(path, {
      calls: {
        'GET /status': async () => this.#status,
        'GET /usage': () => this.#usage(),
        'POST /wait': () => this.#ended(),
        'POST /signal': async (parameters) => this.#signal(signalOf(parameters.get('signal'))),
        'POST /stop': async (parameters) => this.stop(secondsOf(parameters.get('seconds')), !parameters.has('shutdown')),
        'POST /save': (parameters) => this.#save(parameters.get('name') ?? ''),
        'POST /pause': async () => {
          await this.#running().pause();
          await this.#change({ state: 'paused' });
          return {};
        },
        'POST /resume': async () => {
          await this.#running().resume();
          await this.#change({ state: 'running' });
          return {};
        },
      },
      streams: {
        '/exec': (socket) => this.#exec(socket),
        '/attach': (socket) => this.#attach(socket),
      },
    });
  }

  /** A start that fails is the user's to hear of; one after others is an end like any other. */
  async #runOnce(started: () => void): Promise<{ readonly exitCode: number; readonly reason: string | undefined }> {
    try {
      const { end, exitCode } = await this.#run(started);
      return { exitCode, reason: describeEnd(end) };
    } catch (error) {
      if (this.#restarter.times === 0) throw error;
      return { exitCode: EXIT.beforeRun, reason: asUklError(error).message };
    }
  }

  async #run(started: () => void): Promise<RunResult> {
    const { name, target, image, restores, options, interactive, health, project } = this.#spec;
    this.#stdin = interactive ? new PassThrough() : undefined;
    const given = options as RunOptions;
    await using port = project === undefined ? undefined : await openPort(project.name, (error) => this.#isolated(error));
    const own: RunOptions = {
      ...given,
      ...(port === undefined ? {} : { net: [given.net ?? 'user', port.net].flat() }),
      stdin: this.#stdin ?? PassThrough.from([]),
      stdout: this.#journal.stream('stdout', (chunk) => this.#tell('o', chunk)),
      stderr: this.#journal.stream('stderr', (chunk) => this.#tell('e', chunk)),
    };
    const vm = await (restores ? restoreFiles(target, snapshotOf(name), own) : run(image, own));
    this.#vm = vm;
    const over = new AbortController();
    const { machine } = vm.plan;
    await this.#change({ state: 'starting', vmmPid: vm.pid, ports: portsOf(machine), memoryMiB: machine.memoryMiB, started: new Date().toISOString() });
    if (this.#over.signal.aborted) vm.kill('SIGTERM');
    void vm.started.then(async () => {
      if (vm.state === 'running') await this.#change({ state: 'running' });
      started();
    });
    if (health !== undefined) {
      await this.#change({ health: 'starting' });
      void watchHealth(vm, health, (now) => void this.#change({ health: now }), over.signal);
    }
    const result = await vm.result.finally(() => {
      over.abort();
      this.#vm = undefined;
    });
    await this.#change({ log: result.log });
    return result;
  }

  #isolated(error: unknown): void {
    process.stderr.write(`not on the project's network any more: ${asUklError(error).message}\n`);
    void logEvent(this.#spec.name, 'isolated');
  }

  /** Ends the guest as its program expects it, then by force. Settles when it has ended. One that a user stops does not come back with this machine. */
  async stop(seconds: number, byUser = false): Promise<GuestStatus> {
    this.#over.abort();
    if (byUser) await this.#change({ stopped: true });
    const vm = this.#vm;
    if (vm !== undefined) {
      if (this.#status.state === 'paused') await vm.resume();
      vm.signal(signalOf(this.#spec.stopSignal));
      await Promise.race([vm.result, elapse(seconds * 1000)]);
      vm.kill('SIGKILL');
    }
    return this.#ended();
  }

  /** Saves the guest, which goes on. */
  async #save(snapshot: string): Promise<Snapshot> {
    const { name } = this.#spec;
    const vm = this.#running();
    if (this.#status.state === 'paused') throw new UklError('UKL_USAGE', `'${name}' is paused, and not saved`, { hint: `ukl unpause ${name}` });
    const saved = await vm.save(snapshot);
    await logEvent(name, 'saved');
    return saved;
  }

  async #signal(name: NodeJS.Signals): Promise<object> {
    if (name === 'SIGKILL') {
      // As docker has it: whoever kills by hand does not want it back.
      this.#over.abort();
      await this.#change({ stopped: true });
      this.#running().kill(name);
    } else this.#running().signal(name);
    return {};
  }

  async #ended(): Promise<GuestStatus> {
    if (this.#status.state !== 'exited') await once(this.#events, 'ended');
    return this.#status;
  }

  async #usage(): Promise<Usage> {
    return usageOf(this.#running());
  }

  /** Frames go from end to end: what they say is between the client and the guest. */
  async #exec(socket: Socket): Promise<void> {
    const connecting = this.#running().connect();
    // An upgraded connection may be half open: who ends it has gone, maybe before there was a port.
    const leave = (): void => {
      socket.destroy();
      void connecting.then((port) => port.destroy()).catch(() => {});
    };
    socket.on('end', leave);
    socket.on('close', leave);
    const port = await connecting;
    if (socket.destroyed) return;
    socket.write(UPGRADED);
    socket.pipe(port);
    port.pipe(socket);
    port.on('error', () => {});
    port.on('close', () => socket.end());
  }

  async #attach(socket: Socket): Promise<void> {
    const vm = this.#running();
    socket.write(UPGRADED);
    this.#attached.add(socket);
    socket.on('close', () => this.#attached.delete(socket));
    const frames = new FrameSplitter();
    const makeRoom = (bytes: number): void => {
      if (!socket.destroyed) socket.write(encodeRoom(bytes));
    };
    makeRoom(FRAME_MAX);
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const { type, bytes } of frames.push(chunk)) {
          const stdin = this.#stdin?.writable ? this.#stdin : undefined;
          if (type !== 'i' || stdin === undefined) continue;
          if (bytes.length === 0) stdin.end();
          else stdin.write(bytes, () => makeRoom(bytes.length));
        }
      } catch {
        socket.destroy();
      }
    });
    void vm.result.then(
      ({ exitCode }) => socket.end(encodeFrame('x', `exit ${exitCode}`)),
      () => socket.destroy(),
    );
  }

  async #end(server: Server): Promise<void> {
    const { group } = this.#status;
    if (group !== undefined) await leaveGroup(group);
    this.#events.emit('ended');
    // Answers that are on their way go out; who only waits for our end sees it with the process.
    server.close();
    setImmediate(() => server.closeAllConnections());
    this.#journal[Symbol.dispose]();
    if (this.#spec.remove) await release(this.#spec.name);
  }
}
