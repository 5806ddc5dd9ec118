// SPDX-License-Identifier: MIT
/** Our end of the socket that vmm-plugins/profile.c speaks on. */
import { once } from 'node:events';
import type { Server, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { UklError } from '../lib/errors.js';
import { listen } from '../lib/listen.js';

/** A function on one path of calls. */
export interface CallNode {
  readonly parent: number;
  /** The address of the call, and of what was called. */
  readonly site: number;
  readonly callee: number;
  readonly calls: number;
}

/** What was executed at an address, in one node; node 0 is where no call was seen. */
export interface Count {
  readonly node: number;
  readonly pc: number;
  readonly instructions: number;
}

export interface Dump {
  readonly nodes: ReadonlyMap<number, CallNode>;
  readonly counts: readonly Count[];
}

/** Kernel addresses become negative, and exact as numbers: they are within 2^53 of 2^64. */
export function parseAddress(hex: string): number {
  return Number(BigInt.asIntN(64, BigInt(`0x${hex}`)));
}

/** Reads the plugin's lines up to "end". */
export class DumpReader {
  readonly #nodes = new Map<number, CallNode>();
  readonly #counts: Count[] = [];

  /** The whole, once its last line has come. */
  add(line: string): Dump | undefined {
    const [word, id, ...rest] = line.split(' ');
    const [a = '0', b = '0', c = '0', d = '0'] = rest;
    if (word === 'node') this.#nodes.set(Number(id), { parent: Number(a), site: parseAddress(b), callee: parseAddress(c), calls: Number(d) });
    else if (word === 'count') this.#counts.push({ node: Number(id), pc: parseAddress(a), instructions: Number(b) });
    return word === 'end' ? { nodes: this.#nodes, counts: this.#counts } : undefined;
  }
}

/** The plugin in a VMM. The machine must be paused for `reset()` and `dump()`. */
export class Profiler implements Disposable {
  readonly #server: Server;
  readonly #connected: Promise<Socket>;
  readonly #gone: Promise<never>;
  #giveUp: (error: Error) => void = () => {};
  #socket: Socket | undefined;
  #reader = new DumpReader();
  #waiting: { readonly ok: () => void; readonly dumped: (dump: Dump) => void; readonly failed: (error: Error) => void } | undefined;
  /** What came unasked: the machine ended by itself. */
  #last: Dump | undefined;

  private constructor(server: Server) {
    this.#server = server;
    this.#connected = (once(server, 'connection') as Promise<[Socket]>).then(([socket]) => {
      this.#socket = socket;
      createInterface({ input: socket }).on('line', (line) => this.#receive(line));
      socket.on('error', () => {});
      socket.once('close', () => {
        this.#waiting?.failed(new UklError('UKL_VMM', 'the VMM ended before it had said what it counted'));
      });
      return socket;
    });
    this.#connected.catch(() => {});
    this.#gone = new Promise((_, reject) => {
      this.#giveUp = reject;
    });
    this.#gone.catch(() => {});
  }

  static async listen(path: string): Promise<Profiler> {
    return new Profiler(await listen(path));
  }

  #receive(line: string): void {
    if (line === 'ok') this.#waiting?.ok();
    const dump = line === 'ok' ? undefined : this.#reader.add(line);
    if (dump === undefined) return;
    this.#reader = new DumpReader();
    this.#last = dump;
    this.#waiting?.dumped(dump);
  }

  async #ask(word: string): Promise<Dump | undefined> {
    const socket = await Promise.race([this.#connected, this.#gone]);
    if (this.#last !== undefined) return this.#last;
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting = { ok: () => resolve(undefined), dumped: resolve, failed: reject };
        if (socket.destroyed) this.#waiting.failed(new UklError('UKL_VMM', 'the VMM has ended'));
        else socket.write(`${word}\n`);
      });
    } finally {
      this.#waiting = undefined;
    }
  }

  /** Forgets what was counted. */
  async reset(): Promise<void> {
    await this.#ask('reset');
  }

  /** What was counted since the last `reset()`, or up to the machine's end. */
  async dump(): Promise<Dump> {
    const dump = await this.#ask('dump');
    if (dump === undefined) throw new UklError('UKL_VMM', 'the profiler did not answer');
    return dump;
  }

  /** The VMM is gone: who has not connected will not any more. */
  giveUp(): void {
    this.#giveUp(new UklError('UKL_VMM', 'the VMM ended before the profiler had begun', { hint: 'ukl run, to see why' }));
  }

  [Symbol.dispose](): void {
    this.#server.close();
    this.#socket?.destroy();
  }
}
