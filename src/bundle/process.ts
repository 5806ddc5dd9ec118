// SPDX-License-Identifier: MIT
/**
 * The container's process: what the engine knows by its number and waits for. It
 * waits until it is started, then runs the machine, with the program's streams as its own, and ends with the
 * program's status. If it is killed, the kernel ends the machine with it (src/lib/leash.ts).
 */
import { rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { serve, UPGRADED } from '../detached/server.js';
import { UklError } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import { statusOfSignal } from '../model/exit-status.js';
import { describeEnd } from '../run/end.js';
import type { RunningVm } from '../run/launch.js';
import { type ContainerGuest, startGuest } from './guest.js';
import { runHooks } from './hooks.js';
import { type BundlePlan, planOf } from './plan.js';
import { type ContainerRecord, type Place, readConfig, readRecord, stateOf, writeRecord } from './record.js';
import type { BundleConfig } from './spec.js';

/** Signals that end a process which does not expect them, as one that waits does not. */
const ENDING: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];

/** "9", "KILL" or "SIGKILL". Throws UKL_USAGE. */
export function signalOf(text: string): NodeJS.Signals {
  const upper = text.toUpperCase();
  const name = /^\d+$/.test(text) ? Object.entries(constants.signals).find(([, number]) => number === Number(text))?.[0] : upper.replace(/^(SIG)?/, 'SIG');
  if (name === undefined || !(name in constants.signals)) throw new UklError('UKL_USAGE', `'${text}' is no signal`, { hint: 'KILL, TERM, HUP, or a number' });
  return name as NodeJS.Signals;
}

export class ContainerProcess {
  readonly #place: Place;
  readonly #config: BundleConfig;
  readonly #plan: BundlePlan;
  readonly #image: string;
  readonly #log: Log;
  #record: ContainerRecord;
  #server: Server | undefined;
  #starting = false;
  readonly #sessions = new Set<Socket>();
  #guest: ContainerGuest | undefined;
  #settle: (status: number) => void = () => {};
  /** The exit status that this process is to end with. */
  readonly end = new Promise<number>((resolve) => {
    this.#settle = resolve;
  });

  private constructor(place: Place, image: string, config: BundleConfig, record: ContainerRecord, log: Log) {
    this.#place = place;
    this.#image = image;
    this.#config = config;
    this.#plan = planOf(config, record.bundle, place.id);
    this.#record = record;
    this.#log = log;
  }

  /** Listens, and waits to be started. */
  static async begin(place: Place, image: string, log: Log): Promise<ContainerProcess> {
    const container = new ContainerProcess(place, image, await readConfig(place), await readRecord(place), log);
    await rm(place.socket, { force: true });
    container.#server = await serve(place.socket, {
      calls: {
        'POST /start': () => container.#start(),
        'POST /signal': async (parameters) => container.signal(signalOf(parameters.get('signal') ?? '')),
        'POST /pause': () => container.#pause('paused'),
        'POST /resume': () => container.#pause('running'),
        'GET /pids': async () => ({ pids: [process.pid, container.#guest?.vm.pid].filter((pid) => pid !== undefined) }),
      },
      streams: { '/exec': (socket) => container.#exec(socket) },
    });
    for (const name of ENDING) process.on(name, () => void container.signal(name));
    if (container.#plan.program.terminal !== undefined) container.#followTerminal();
    return container;
  }

  #followTerminal(): void {
    const { stdout } = process;
    stdout.on('resize', () => this.#guest?.vm.resize({ rows: stdout.rows, columns: stdout.columns }));
  }

  #running(): RunningVm {
    if (this.#guest === undefined) throw new UklError('UKL_VMM', `container not running: ${this.#place.id}`, { hint: `ukl-oci state ${this.#place.id}` });
    return this.#guest.vm;
  }

  /** For the program; before there is one, and in what stands for a pod, for this process. */
  signal(name: NodeJS.Signals): object {
    if (this.#guest !== undefined) this.#guest.vm.signal(name);
    else if (ENDING.includes(name) || name === 'SIGKILL') this.#finish(this.#plan.sandbox && name === 'SIGTERM' ? 0 : statusOfSignal(name));
    return {};
  }

  /** Only this process writes the record now. */
  async #change(state: ContainerRecord['state']): Promise<void> {
    // `create` has added who we are.
    this.#record = { ...(await readRecord(this.#place)), state };
    await writeRecord(this.#place, this.#record);
  }

  async #start(): Promise<object> {
    if (this.#starting) throw new UklError('UKL_USAGE', `container ${this.#place.id} has been started already`, { hint: `ukl-oci state ${this.#place.id}` });
    this.#starting = true;
    try {
      await runHooks(this.#config.hooks.startContainer, 'startContainer', stateOf(this.#record, 'created'));
      if (!this.#plan.sandbox) await this.#boot();
      await this.#change('running');
    } catch (error) {
      this.#finish(1);
      throw error;
    }
    return {};
  }

  async #boot(): Promise<void> {
    const guest = await startGuest(this.#image, this.#plan, process, this.#log);
    this.#guest = guest;
    void guest.vm.result.then(
      async ({ end, exitCode }) => {
        const words = describeEnd(end);
        if (words !== undefined && end.kind !== 'signal' && end.kind !== 'interrupted') process.stderr.write(`ukl: ${words}\n`);
        await guest.leave();
        this.#finish(exitCode);
      },
      async (error: unknown) => {
        process.stderr.write(`ukl: ${error instanceof Error ? error.message : String(error)}\n`);
        await guest.leave();
        this.#finish(1);
      },
    );
    await guest.vm.started;
  }

  async #pause(state: 'paused' | 'running'): Promise<object> {
    await (state === 'paused' ? this.#running().pause() : this.#running().resume());
    await this.#change(state);
    return {};
  }

  /** Frames go from end to end: what they say is between the client and the guest. */
  async #exec(socket: Socket): Promise<void> {
    const port = await this.#running().connect();
    this.#sessions.add(socket);
    socket.on('close', () => this.#sessions.delete(socket));
    socket.write(UPGRADED);
    socket.pipe(port);
    port.pipe(socket);
    socket.on('close', () => port.destroy());
    port.on('error', () => {});
    port.on('close', () => socket.end());
  }

  /** Ends this process, once answers that are on their way have gone out. */
  #finish(status: number): void {
    this.#server?.close(() => this.#settle(status));
    for (const socket of this.#sessions) socket.destroy();
  }
}
