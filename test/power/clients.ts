// SPDX-License-Identifier: MIT
/** Clients that have a server write numbers down, one after the other, and know which it has promised to keep. */
import { connect, type Socket } from 'node:net';
import { type PostgresMessage, postgresMessages, postgresQuery, postgresStartup } from '../../src/bench/postgres.js';

/** One connection; each call settles with the server's whole answer. */
export class Connection {
  readonly #socket: Socket;
  #bytes: Buffer = Buffer.alloc(0);
  #waiting: { readonly whole: (bytes: Buffer) => boolean; readonly settle: (bytes: Buffer) => void; readonly fail: (error: Error) => void } | undefined;
  #over: Error | undefined;

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.on('data', (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#look();
    });
    const end = (error?: Error): void => {
      this.#over ??= error ?? new Error('the connection was closed');
      this.#waiting?.fail(this.#over);
    };
    this.#socket.on('error', end);
    this.#socket.on('close', () => end());
  }

  #look(): void {
    if (!this.#waiting?.whole(this.#bytes)) return;
    const { settle } = this.#waiting;
    this.#waiting = undefined;
    const bytes = this.#bytes;
    this.#bytes = Buffer.alloc(0);
    settle(bytes);
  }

  ask(question: Buffer | string, whole: (bytes: Buffer) => boolean): Promise<Buffer> {
    return new Promise((settle, fail) => {
      if (this.#over !== undefined) return fail(this.#over);
      this.#waiting = { whole, settle, fail };
      this.#socket.write(question);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** What a server can be asked. */
export interface Client {
  /** Ready for the others; throws while the server is not. */
  prepare(connection: Connection): Promise<void>;
  /** Writes the number down; once it settles, the server has promised to keep it. */
  keep(connection: Connection, number: number): Promise<void>;
  /** All numbers that are there, in order. */
  list(connection: Connection): Promise<number[]>;
}

const resp = (...words: readonly string[]): string => `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
const ends = (bytes: Buffer): boolean => bytes.subarray(-2).toString() === '\r\n';

/** redis.io, "protocol specification". */
export const redis: Client = {
  prepare: async (connection) => {
    const answer = await connection.ask(resp('PING'), ends);
    if (!answer.toString().startsWith('+PONG')) throw new Error(answer.toString());
  },
  keep: async (connection, number) => {
    const answer = await connection.ask(resp('RPUSH', 'numbers', String(number)), ends);
    if (!answer.toString().startsWith(':')) throw new Error(answer.toString());
  },
  list: async (connection) => {
    // "*N\r\n", and a length and a string for each.
    const whole = (bytes: Buffer): boolean => {
      const lines = bytes.toString().split('\r\n');
      return ends(bytes) && lines.length === 2 + 2 * Number(lines[0]?.slice(1));
    };
    const lines = (await connection.ask(resp('LRANGE', 'numbers', '0', '-1'), whole)).toString().split('\r\n');
    return lines.filter((_, index) => index > 0 && index % 2 === 0).map(Number);
  },
};

/** ReadyForQuery ends an answer. */
const ready = (bytes: Buffer): boolean => [...postgresMessages(bytes)].at(-1)?.type === 'Z';

async function execute(connection: Connection, text: string): Promise<PostgresMessage[]> {
  const answer = [...postgresMessages(await connection.ask(postgresQuery(text), ready))];
  const error = answer.find(({ type }) => type === 'E');
  if (error !== undefined) throw new Error(error.body.toString().replaceAll('\0', ' '));
  return answer;
}

/** postgresql.org, "Frontend/Backend Protocol": with trust, nothing is asked. */
export const postgres: Client = {
  prepare: async (connection) => {
    const answer = [...postgresMessages(await connection.ask(postgresStartup, (bytes) => ready(bytes) || bytes[0] === 'E'.charCodeAt(0)))];
    if (answer.at(-1)?.type !== 'Z') throw new Error('not yet');
    await execute(connection, 'create table if not exists numbers (n integer primary key)');
  },
  keep: async (connection, number) => {
    await execute(connection, `insert into numbers values (${number})`);
  },
  list: async (connection) => {
    const rows = (await execute(connection, 'select n from numbers order by n')).filter(({ type }) => type === 'D');
    // One column: its count, its length, its text.
    return rows.map(({ body }) => Number(body.subarray(6).toString()));
  },
};
