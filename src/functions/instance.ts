// SPDX-License-Identifier: MIT
/** One guest that answers requests of one function. */
import { Agent, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import type { Readable } from 'node:stream';
import { UklError } from '../lib/errors.js';
import { LineSplitter } from '../lib/lines.js';
import { silentLog } from '../lib/log.js';
import type { RunningVm } from '../run/launch.js';
import type { OpenSnapshot, Standby } from '../run/snapshot.js';

/** A request, on its way to a function. */
export interface Call {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  /** Undefined for a request without a body. */
  readonly body: Readable | undefined;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** Why an instance gave no answer. */
export type Failure = 'ended' | 'timeout' | 'gone';

export class NoAnswer extends Error {
  constructor(readonly why: Failure) {
    super(why);
  }
}

/** Takes what a guest prints, line by line. */
export type OnLine = (line: string) => void;

function readLines(stream: Readable, onLine: OnLine): void {
  const lines = new LineSplitter(16 * 1024);
  stream.on('data', (chunk: Buffer) => {
    for (const line of lines.push(chunk)) onLine(line);
  });
}

/** A VMM that waits, to become an instance with these variables. */
export async function prepare(snapshot: OpenSnapshot, port: number, env: Readonly<Record<string, string>>, onLine: OnLine): Promise<Standby> {
  const waiting = await snapshot.standby({ ports: [`0:${port}`], imagePorts: false, env, log: silentLog });
  readLines(waiting.vm.stdout, onLine);
  readLines(waiting.vm.stderr, onLine);
  return waiting;
}

export class Instance {
  /** Requests that it has now. */
  active = 0;
  /** When it had its last one, by performance.now(). */
  usedAt = performance.now();
  /** Why it takes no more requests: it ends with its last one. */
  retired: string | undefined;
  readonly #vm: RunningVm;
  readonly #port: number;
  readonly #agent: Agent;

  constructor(
    readonly id: string,
    vm: RunningVm,
    port: number,
    /** Its server never closes a connection by itself. */
    keepAlive: boolean,
  ) {
    this.#agent = new Agent({ keepAlive });
    this.#vm = vm;
    this.#port = vm.port(port);
  }

  /** Settles when the guest is gone; the words say how. */
  readonly over = (): Promise<string> =>
    this.#vm.result
      .then(
        ({ end }) => JSON.stringify(end),
        (error: unknown) => String(error),
      )
      .finally(() => {
        this.retired ??= 'crash';
        this.#agent.destroy();
      });

  /** One request more, which leaves again in any case. */
  take(): this {
    this.active++;
    return this;
  }

  leave(): void {
    this.active--;
    this.usedAt = performance.now();
    if (this.retired !== undefined && this.active === 0) this.kill();
  }

  /** Ends it at once, with all that it was at. */
  kill(): void {
    this.#vm.kill();
  }

  /** Has no more requests come; ends it once it has none. */
  retire(why: string): void {
    this.retired ??= why;
    if (this.active === 0) this.kill();
  }

  /**
   * Hands a request over; `deliver` passes the answer on.
   *
   * @throws NoAnswer if the guest ends first, takes longer than it may, or nobody waits any more
   */
  async answer(call: Call, timeoutMs: number, deliver: (answer: IncomingMessage) => Promise<void>): Promise<void> {
    const timer = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([timer, call.signal]);
    try {
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        const { method, path, headers } = call;
        const asked = request({ host: '127.0.0.1', port: this.#port, agent: this.#agent, method, path, headers, signal });
        asked.once('response', resolve);
        asked.on('error', reject);
        if (call.body === undefined) asked.end();
        else call.body.pipe(asked);
      });
      await deliver(answer);
    } catch (error) {
      if (call.signal.aborted) throw new NoAnswer('gone');
      if (timer.aborted) throw new NoAnswer('timeout');
      if (error instanceof UklError) throw error;
      throw new NoAnswer('ended');
    }
  }
}
