// SPDX-License-Identifier: MIT
/** As much of gRPC and Protocol Buffers as asks a daemon on a Unix socket a question (grpc.io, protobuf.dev: "Encoding"). */
import { once } from 'node:events';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { connect as dial } from 'node:net';

/** Fields by number: text, whole numbers from 0, and messages. */
export type Message = readonly (readonly [field: number, value: string | number | Message])[];

function varint(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  for (; left > 127; left = Math.floor(left / 128)) bytes.push((left % 128) | 128);
  return [...bytes, left];
}

function encode(message: Message): Buffer {
  return Buffer.concat(
    message.map(([field, value]) => {
      if (typeof value === 'number') return Buffer.from([...varint(field * 8), ...varint(value)]);
      const bytes = typeof value === 'string' ? Buffer.from(value) : encode(value);
      return Buffer.concat([Buffer.from([...varint(field * 8 + 2), ...varint(bytes.length)]), bytes]);
    }),
  );
}

/** What was answered. A field that is not there is 0, or empty. */
export class Answer {
  readonly #numbers = new Map<number, number>();
  readonly #bytes = new Map<number, Buffer>();

  constructor(buffer: Buffer) {
    let at = 0;
    const next = (): number => {
      let value = 0;
      for (let scale = 1; ; scale *= 128) {
        const byte = buffer[at++] ?? 0;
        value += (byte & 127) * scale;
        if (byte < 128) return value;
      }
    };
    while (at < buffer.length) {
      const tag = next();
      const [field, type] = [Math.floor(tag / 8), tag % 8];
      if (type === 0) this.#numbers.set(field, next());
      else if (type === 2) {
        const size = next();
        this.#bytes.set(field, buffer.subarray(at, at + size));
        at += size;
      } else throw new Error(`a field of type ${type}`);
    }
  }

  number = (field: number): number => this.#numbers.get(field) ?? 0;
  text = (field: number): string => this.#bytes.get(field)?.toString() ?? '';
  message = (field: number): Answer => new Answer(this.#bytes.get(field) ?? Buffer.alloc(0));
}

export class Grpc implements Disposable {
  readonly #session: ClientHttp2Session;
  readonly #service: string;

  constructor(socket: string, service: string) {
    this.#session = connect('http://localhost', { createConnection: () => dial(socket) });
    this.#session.on('error', () => {}); // each question tells
    this.#service = service;
  }

  /** Throws what the daemon says. */
  async ask(method: string, message: Message): Promise<Answer> {
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': `/${this.#service}/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const body = encode(message);
    const head = Buffer.alloc(5); // not compressed
    head.writeUInt32BE(body.length, 1);
    stream.end(Buffer.concat([head, body]));
    let said: IncomingHttpHeaders = {};
    const hear = (headers: IncomingHttpHeaders): void => {
      said = { ...said, ...headers };
    };
    stream.on('response', hear);
    stream.on('trailers', hear);
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(stream, 'end');
    if (said['grpc-status'] !== '0') throw new Error(`${method}: ${decodeURIComponent(String(said['grpc-message'] ?? said['grpc-status']))}`);
    return new Answer(Buffer.concat(chunks).subarray(5));
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}
