// SPDX-License-Identifier: MIT
/** One server that answers requests of one function. */
import { Agent, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import type { Server } from './backend.js';

/** A request, on its way to a function. */
export interface Call {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  /** Undefined for a request without a body. */
  readonly body: Buffer | undefined;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Whether the answer waits for who asked to read it. */
  readonly unread: () => boolean;
}

/** Why an instance gave no answer. */
export type Failure = 'ended' | 'timeout' | 'gone';

export class NoAnswer extends Error {
  constructor(readonly why: Failure) {
    super(why);
  }
}

export class Instance {
  /** Requests that it has now. */
  active = 0;
  /** When it had its last one, by performance.now(). */
  usedAt = performance.now();
  /** Why it takes no more requests: it ends with its last one. */
  retired: string | undefined;
  readonly #server: Server;
  readonly #agent: Agent;

  constructor(
    readonly id: string,
    server: Server,
  ) {
    this.#server = server;
    this.#agent = new Agent({ keepAlive: server.keepsConnections });
  }

  /** Settles when it is gone; the words say how. */
  readonly over = (): Promise<string> =>
    this.#server.over.finally(() => {
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
    this.#server.kill();
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
    const { probe } = this.#server;
    // Known at that moment alone: then all of it is destroyed.
    let unread = false;
    timer.addEventListener('abort', () => {
      unread = call.unread();
    });
    try {
      // Of a server that cannot be probed, only its answer shows that it is free again.
      const answer = await this.#ask(call, probe === undefined ? timer : AbortSignal.any([timer, call.signal]));
      if (!call.signal.aborted) {
        await deliver(answer);
        return;
      }
      answer.destroy();
    } catch {
      // Who does not read what there is keeps an instance from nobody, and ends none.
      if (timer.aborted && !unread) throw new NoAnswer('timeout');
      if (!call.signal.aborted && !timer.aborted) throw new NoAnswer('ended');
    }
    if (probe !== undefined && !timer.aborted) await this.#prove(probe, timer);
    throw new NoAnswer('gone');
  }

  #ask({ method, path, headers, body }: Pick<Call, 'method' | 'path' | 'headers' | 'body'>, signal: AbortSignal): Promise<IncomingMessage> {
    const { address, host } = this.#server;
    const named = host === undefined ? headers : { ...headers, ...(headers.host === undefined ? {} : { 'x-forwarded-host': headers.host }), host };
    return new Promise((resolve, reject) => {
      const asked = request({ ...address, agent: this.#agent, method, path, headers: named, signal });
      asked.once('response', resolve);
      // Nothing but HTTP is passed on.
      asked.once('upgrade', (_answer, socket) => {
        socket.destroy();
        reject(new Error('an upgrade that nobody asked for'));
      });
      asked.on('error', reject);
      asked.end(body);
    });
  }

  /** Who asked has gone: whether the server is still at it, and hangs, is not known. Throws NoAnswer. */
  async #prove(probe: string, timer: AbortSignal): Promise<void> {
    try {
      const answer = await this.#ask({ method: 'GET', path: probe, headers: {}, body: undefined }, timer);
      await new Promise((resolve, reject) => answer.once('error', reject).once('end', resolve).resume());
    } catch {
      throw new NoAnswer(timer.aborted ? 'timeout' : 'ended');
    }
  }
}
