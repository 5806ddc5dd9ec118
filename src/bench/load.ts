// SPDX-License-Identifier: MIT
/** A closed loop: connections that are kept, each with one request under way. The number of requests is exact. */
import { setMaxListeners } from 'node:events';
import { connect, type Socket } from 'node:net';
import { asUklError, UklError } from '../lib/errors.js';

/** A question, and where its answer ends. */
export interface Talk {
  /** Sent once for each connection, before it counts; its answer ends as others do. */
  readonly greeting?: string | Buffer;
  readonly question: string | Buffer;
  /** The length of the answer that these bytes begin with, or undefined while it is not whole. */
  readonly answer: (bytes: Buffer) => number | undefined;
}

/** An answer that ends with certain bytes. */
export const upTo =
  (end: string | Buffer) =>
  (bytes: Buffer): number | undefined => {
    const at = bytes.indexOf(end);
    return at < 0 ? undefined : at + end.length;
  };

/** HTTP/1.1 with a Content-Length (RFC 9112, 6.3). */
export function httpAnswer(bytes: Buffer): number | undefined {
  const head = bytes.indexOf('\r\n\r\n');
  if (head < 0) return undefined;
  const length = /^content-length: *(\d+)/im.exec(bytes.toString('latin1', 0, head))?.[1];
  if (length === undefined) throw new UklError('UKL_VMM', `the server's answer has no length: ${bytes.toString('latin1', 0, head)}`);
  const whole = head + 4 + Number(length);
  return bytes.length < whole ? undefined : whole;
}

/** One connection of a load. */
class Client {
  readonly #socket: Socket;
  readonly #talk: Talk;
  #bytes: Buffer = Buffer.alloc(0);
  #answered: (() => void) | undefined;
  #failed: ((error: Error) => void) | undefined;
  #over: Error | undefined;

  constructor(port: number, talk: Talk, signal: AbortSignal | undefined) {
    this.#talk = talk;
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.on('data', (chunk) => this.#take(chunk));
    this.#socket.on('error', (error) => this.#end(new UklError('UKL_VMM', `a connection of the load failed: ${error.message}`)));
    this.#socket.on('close', () => this.#end(new UklError('UKL_VMM', 'the server closed a connection of the load')));
    signal?.addEventListener('abort', () => this.#socket.destroy(), { once: true });
  }

  #end(error: Error): void {
    this.#over ??= error;
    this.#failed?.(error);
  }

  #take(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    let length: number | undefined;
    try {
      length = this.#talk.answer(this.#bytes);
    } catch (error) {
      this.#end(asUklError(error));
    }
    if (length === undefined) return;
    this.#bytes = this.#bytes.subarray(length);
    this.#answered?.();
  }

  /** Settles with the answer. */
  ask(question: string | Buffer = this.#talk.question): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) return reject(this.#over);
      this.#answered = resolve;
      this.#failed = reject;
      this.#socket.write(question);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** Connections to a port of this host, ready to ask. */
export class Load implements Disposable {
  readonly #clients: readonly Client[];

  private constructor(clients: readonly Client[]) {
    this.#clients = clients;
  }

  static async connect(port: number, talk: Talk, connections: number, signal?: AbortSignal): Promise<Load> {
    if (signal !== undefined) setMaxListeners(0, signal);
    const load = new Load(Array.from({ length: connections }, () => new Client(port, talk, signal)));
    if (talk.greeting !== undefined) for (const client of load.#clients) await client.ask(talk.greeting);
    return load;
  }

  /** Asks so often in all, and settles with the last answer. Returns seconds. */
  async run(requests: number): Promise<number> {
    const began = performance.now();
    let left = requests;
    await Promise.all(
      this.#clients.map(async (client) => {
        while (left-- > 0) await client.ask();
      }),
    );
    return (performance.now() - began) / 1000;
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.close();
  }
}
