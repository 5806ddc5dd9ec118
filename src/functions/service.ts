// SPDX-License-Identifier: MIT
/** A function that is served: its queue, its instances, and how many there are. */
import { setMaxListeners } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import type { FunctionOptions } from '../options/function.js';
import type { Backend, Server } from './backend.js';
import { type Call, Instance, NoAnswer } from './instance.js';
import type { Metrics } from './metrics.js';

/** A function, as the gateway knows it. */
export interface Served {
  readonly name: string;
  readonly options: FunctionOptions;
  readonly backend: Backend;
}

/** Why a request has no answer of the function's. */
export class Refusal extends Error {
  constructor(
    readonly status: 429 | 502 | 503 | 504,
    message: string,
  ) {
    super(message);
  }
}

/** What the instances of all functions share. */
export interface Capacity {
  /** Makes room for one more, if that can be; who has it gives it back. */
  take(service: Service): boolean;
  give(): void;
}

export interface ServiceContext {
  readonly capacity: Capacity;
  readonly metrics: Metrics;
  /** Instances that wait for each function that is in use. */
  readonly warm: number;
  /** Where a function's instances stop, if it does not say. */
  readonly max: number;
  readonly log: (line: string) => void;
}

/** Requests that may be sent twice (RFC 9110, 9.2.2). */
const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE']);

/** How long after an instance could not be started none is tried. */
const FAILED_MS = 1000;

/** Latencies that the status page goes by. */
const KEPT = 512;

interface Waiting {
  readonly resolve: (instance: Instance) => void;
  readonly reject: (refusal: Refusal) => void;
}

/** Passes an answer on, whose body is there as a whole or still comes; settles when all of it has gone out. */
export type Deliver = (answer: IncomingMessage, body: Buffer | IncomingMessage) => Promise<void>;

/** Of a body that is awaited before anything is passed on, so that what comes before it is complete can be tried again. */
const WHOLE_BYTES = 64 * 1024;

async function whole(answer: IncomingMessage): Promise<Buffer | IncomingMessage> {
  const length = Number(answer.headers['content-length'] ?? Number.NaN);
  return length <= WHOLE_BYTES ? buffer(answer) : answer;
}

export interface Shown {
  readonly name: string;
  readonly path: string;
  readonly instances: number;
  readonly active: number;
  readonly waiting: number;
  readonly starting: number;
  readonly standbys: number;
  readonly requests: number;
  readonly starts: number;
  readonly p50: number | undefined;
  readonly p99: number | undefined;
}

export class Service {
  readonly #instances = new Set<Instance>();
  readonly #standbys: Server[] = [];
  readonly #queue: Waiting[] = [];
  readonly #latencies: number[] = [];
  readonly name: string;
  readonly path: string;
  readonly host: string | undefined;
  #options: FunctionOptions;
  #backend: Backend;
  #starting = 0;
  #preparing = 0;
  #starts = 0;
  #requests = 0;
  #failedAt = Number.NEGATIVE_INFINITY;
  #usedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();
  /** Starts that are under way. */
  readonly #pending = new Set<Promise<void>>();

  constructor(
    { name, options, backend }: Served,
    private readonly context: ServiceContext,
  ) {
    this.name = name;
    this.#options = options;
    this.#backend = backend;
    this.path = options.path ?? `/${name}`;
    this.host = options.host;
    // Each instance listens to it.
    setMaxListeners(0, this.#closing.signal);
  }

  get options(): FunctionOptions {
    return this.#options;
  }

  /** Has as many instances as are kept in any case. Throws what keeps an instance from being started at all. */
  async open(): Promise<void> {
    await this.#backend.open();
    this.#scale();
  }

  /**
   * Answers a request: `deliver` passes the answer on, once for all tries.
   *
   * @throws Refusal
   */
  async call(call: Call, deliver: Deliver): Promise<void> {
    const began = performance.now();
    const { options } = this;
    let delivering = false;
    const passOn = async (answer: IncomingMessage): Promise<void> => {
      const body = await whole(answer);
      delivering = true;
      await deliver(answer, body);
    };
    this.#requests++;
    for (let tries = 0; ; tries++) {
      const instance = await this.#acquire(call);
      try {
        await instance.answer(call, options.timeout, passOn);
        this.#keepLatency(performance.now() - began);
        return;
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error;
        if (error.why === 'gone') return;
        // Of one that gave no answer nobody knows what it is at.
        instance.retire(error.why === 'timeout' ? 'timeout' : 'crash');
        if (error.why === 'timeout') throw new Refusal(504, `no answer within ${options.timeout / 1000} s`);
        const repeatable = !delivering && REPEATABLE.has(call.method);
        if (!repeatable || tries >= options.retries) throw new Refusal(502, 'the instance ended before it had answered');
      } finally {
        instance.leave();
        this.#release();
      }
    }
  }

  /** There is room for another instance. */
  wake(): void {
    this.#scale();
  }

  /** Ends an instance that has no request, so that another function can have its place; whether there was one. */
  yield(): boolean {
    const idle = this.#idle();
    if (idle === undefined || this.#instances.size <= this.options.min) return false;
    idle.retire('place');
    return true;
  }

  /** When its longest idle instance had its last request; undefined if none is idle. */
  get idleSince(): number | undefined {
    return this.#idle()?.usedAt;
  }

  /** Takes another version: what runs ends with its last request. */
  replace({ options, backend }: Served): void {
    this.#options = options;
    this.#backend = backend;
    this.#failedAt = Number.NEGATIVE_INFINITY;
    for (const instance of this.#instances) instance.retire('replaced');
    for (const standby of this.#standbys.splice(0)) standby.kill();
  }

  /** Ends all instances at once. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    for (const { reject } of this.#queue.splice(0)) reject(new Refusal(503, 'the gateway ends'));
    const standbys = this.#standbys.splice(0);
    const overs = [...[...this.#instances].map((instance) => instance.over()), ...standbys.map(({ over }) => over)];
    for (const each of [...this.#instances, ...standbys]) each.kill();
    await Promise.all([...overs, ...this.#pending]);
  }

  show(): Shown {
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    const at = (share: number): number | undefined => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
    return {
      name: this.name,
      path: this.path,
      instances: this.#instances.size,
      active: [...this.#instances].reduce((sum, { active }) => sum + active, 0),
      waiting: this.#queue.length,
      starting: this.#starting,
      standbys: this.#standbys.length,
      requests: this.#requests,
      starts: this.#starts,
      p50: at(0.5),
      p99: at(0.99),
    };
  }

  #idle(): Instance | undefined {
    return [...this.#instances].filter(({ active, retired }) => active === 0 && retired === undefined).sort((a, b) => a.usedAt - b.usedAt)[0];
  }

  /** The one that was used last of those that take another request: the others can become idle. */
  #free(): Instance | undefined {
    const { concurrency } = this.options;
    return [...this.#instances].filter(({ active, retired }) => active < concurrency && retired === undefined).sort((a, b) => b.usedAt - a.usedAt)[0];
  }

  /** An instance with room, now or later. Throws Refusal. */
  async #acquire(call: Call): Promise<Instance> {
    this.#usedAt = performance.now();
    const { options } = this;
    if (this.#closed) throw new Refusal(503, 'the gateway ends');
    const free = this.#queue.length === 0 ? this.#free() : undefined;
    if (free !== undefined) return free.take();
    if (this.#queue.length >= options.queue) throw new Refusal(429, `${options.queue} requests wait already`);
    return new Promise<Instance>((resolve, reject) => {
      const leave = (refusal: Refusal): void => {
        const index = this.#queue.indexOf(waiting);
        if (index < 0) return;
        this.#queue.splice(index, 1);
        waiting.reject(refusal);
        this.#gauge();
      };
      const timer = setTimeout(() => leave(new Refusal(503, `no instance within ${options.wait / 1000} s`)), options.wait);
      const abort = (): void => leave(new Refusal(503, 'nobody waits any more'));
      const settle = (): void => {
        clearTimeout(timer);
        call.signal.removeEventListener('abort', abort);
      };
      const waiting: Waiting = {
        resolve: (instance) => {
          settle();
          resolve(instance);
        },
        reject: (refusal) => {
          settle();
          reject(refusal);
        },
      };
      call.signal.addEventListener('abort', abort, { once: true });
      this.#queue.push(waiting);
      this.#gauge();
      this.#scale();
    });
  }

  /** An instance has room again, or there is another one. */
  #release(): void {
    for (let free = this.#free(); free !== undefined && this.#queue.length > 0; free = this.#free()) {
      this.#queue.shift()?.resolve(free.take());
    }
    this.#gauge();
    this.#scale();
  }

  /** Starts what the queue wants, and what waits; has the idle looked at. */
  #scale(): void {
    if (this.#closed) return;
    const { options } = this;
    const wanted = Math.max(Math.ceil(this.#queue.length / options.concurrency), options.min - this.#instances.size);
    const failed = performance.now() - this.#failedAt < FAILED_MS;
    while (!failed && this.#starting < wanted && this.#instances.size + this.#starting < (options.max ?? this.context.max)) {
      if (!this.context.capacity.take(this)) break;
      this.#starting++;
      this.#track(this.#start());
    }
    // What somebody waits for comes first.
    while (this.#starting === 0 && this.#inUse() && this.#standbys.length + this.#preparing < this.context.warm) this.#track(this.#prepare());
    this.#timer ??= this.#inUse() ? setTimeout(() => this.#look(), Math.min(options.idle, 10_000)) : undefined;
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  #track(start: Promise<void>): void {
    this.#pending.add(start);
    void start.finally(() => this.#pending.delete(start));
  }

  #inUse(): boolean {
    return this.#instances.size + this.#starting > 0 || performance.now() - this.#usedAt < this.options.idle;
  }

  /** Ends what had no request for long, and at last what waits. */
  #look(): void {
    this.#timer = undefined;
    const { options } = this;
    for (let idle = this.#idle(); idle !== undefined && this.#instances.size > options.min; idle = this.#idle()) {
      if (performance.now() - idle.usedAt < options.idle) break;
      idle.retire('idle');
    }
    if (!this.#inUse()) for (const standby of this.#standbys.splice(0)) standby.kill();
    this.#scale();
  }

  /** One more that waits. */
  async #prepare(): Promise<void> {
    const backend = this.#backend;
    this.#preparing++;
    try {
      const standby = await backend.start(true, this.#closing.signal);
      if (this.#closed || !this.#inUse() || backend !== this.#backend) {
        standby.kill();
        await standby.over;
      } else {
        this.#standbys.push(standby);
        void standby.over.then(() => {
          const index = this.#standbys.indexOf(standby);
          if (index >= 0) this.#standbys.splice(index, 1);
        });
      }
    } catch (error) {
      if (this.#closed) return;
      this.#failedAt = performance.now();
      this.context.log(`[${this.name}] no instance waits: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      this.#preparing--;
    }
  }

  /** One more instance; the place for it is taken already. */
  async #start(): Promise<void> {
    const { metrics, capacity } = this.context;
    const began = performance.now();
    const backend = this.#backend;
    try {
      const server = await this.#next();
      const instance = new Instance(`${this.name}#${++this.#starts}`, server);
      this.#instances.add(instance);
      if (backend !== this.#backend) instance.retire('replaced');
      metrics.starts.at({ function: this.name, how: server.how }).value++;
      metrics.startSeconds.observe({ function: this.name }, (performance.now() - began) / 1000);
      void instance.over().then((how) => {
        this.#instances.delete(instance);
        capacity.give();
        const why = instance.retired ?? 'crash';
        metrics.ends.at({ function: this.name, why }).value++;
        if (why === 'crash' && !this.#closed) this.context.log(`[${instance.id}] ended: ${how}`);
        this.#release();
      });
      if (this.#closed) {
        instance.kill();
        await server.over;
      }
    } catch (error) {
      capacity.give();
      if (this.#closed) return;
      this.#failedAt = performance.now();
      setTimeout(() => this.#scale(), FAILED_MS).unref();
      const why = error instanceof Error ? error.message : String(error);
      this.context.log(`[${this.name}] could not be started: ${why}`);
      if (this.#starting === 1 && this.#instances.size === 0)
        for (const { reject } of this.#queue.splice(0)) reject(new Refusal(502, 'the function could not be started'));
    } finally {
      this.#starting--;
    }
    this.#release();
  }

  /** A server that runs: one that waited, unless it cannot be woken, or a new one. */
  async #next(): Promise<Server> {
    const standby = this.#standbys.shift();
    if (standby === undefined) return this.#backend.start(false, this.#closing.signal);
    try {
      await standby.wake();
      return standby;
    } catch {
      standby.kill();
      return this.#backend.start(false, this.#closing.signal);
    }
  }

  #gauge(): void {
    this.context.metrics.queued.at({ function: this.name }).value = this.#queue.length;
    this.context.metrics.instances.at({ function: this.name }).value = this.#instances.size;
  }

  #keepLatency(ms: number): void {
    this.#latencies.push(ms);
    if (this.#latencies.length > KEPT) this.#latencies.shift();
  }
}
