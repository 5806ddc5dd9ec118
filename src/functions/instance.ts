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
    const { probe } = this.#server;
    const time = new AbortController();
    const asking = new AbortController();
    const stop = (): void => asking.abort();
    // Of a server that cannot be probed, only its answer shows that it is free again.
    if (probe !== undefined) call.signal.addEventListener('abort', stop, { once: true });
    // Known at that moment alone: then all of it is destroyed.
    let unread = false;
    const timer = setTimeout(() => {
      unread = call.unread();
      time.abort();
      stop();
    }, timeoutMs);
    try {
      if (await this.#deliver(call, asking.signal, deliver).catch(() => false)) return;
      // Who does not read what there is keeps an instance from nobody, and ends none.
      if (time.signal.aborted && !unread) throw new NoAnswer('timeout');
      if (!call.signal.aborted && !time.signal.aborted) throw new NoAnswer('ended');
      if (probe !== undefined && !time.signal.aborted) await this.#prove(probe, time.signal);
      throw new NoAnswer('gone');
    } finally {
      clearTimeout(timer);
      call.signal.removeEventListener('abort', stop);
    }
  }

  /** Whether the answer came, and somebody still waited for it. Throws what keeps it from coming. */
  async #deliver(call: Call, signal: AbortSignal, deliver: (answer: IncomingMessage) => Promise<void>): Promise<boolean> {
    const answer = await this.#ask(call, signal);
    if (call.signal.aborted) {
      answer.destroy();
      return false;
    }
    await deliver(answer);
    return true;
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
