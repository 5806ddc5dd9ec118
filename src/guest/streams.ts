// SPDX-License-Identifier: MIT
/** The streams of a program that is at the other end of a connection, in frames. */
import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import { UklError } from '../lib/errors.js';
import { encodeFrame, FRAME_MAX, FrameSplitter } from './frames.js';

/** As a shell has it: 128 and the signal's number for a program that a signal ended. */
function statusIn(text: string): number | undefined {
  const [, word, number] = /^(exit|signal) (\d{1,3})$/.exec(text) ?? [];
  return word === undefined ? undefined : (word === 'signal' ? 128 : 0) + Number(number);
}

function roomIn(bytes: Buffer): number {
  if (bytes.length === 4) return bytes.readUInt32LE();
  throw new UklError('UKL_VMM', `the other end sent room in ${bytes.length} bytes`);
}

/** The program's input: as much as there is room for, and as the connection takes, is on its way. */
class Input extends Writable {
  readonly #socket: Socket;
  #room = 0;
  #rest: Buffer = Buffer.alloc(0);
  #done: () => void = () => {};

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on('drain', () => this.#send());
    socket.on('close', () => this.#send());
  }

  makeRoom(bytes: number): void {
    this.#room += bytes;
    this.#send();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#rest = chunk;
    this.#done = done;
    this.#send();
  }

  override _final(done: () => void): void {
    if (!this.#socket.destroyed) this.#socket.write(encodeFrame('i'));
    done();
  }

  #send(): void {
    // Nobody is there to read it.
    if (this.#socket.destroyed) this.#rest = Buffer.alloc(0);
    while (this.#rest.length > 0 && this.#room > 0 && !this.#socket.writableNeedDrain) {
      const part = this.#rest.subarray(0, Math.min(this.#room, FRAME_MAX));
      this.#socket.write(encodeFrame('i', part));
      this.#room -= part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    if (this.#rest.length > 0) return;
    const done = this.#done;
    this.#done = () => {};
    done();
  }
}

export interface Streams {
  readonly stdin: Writable;
  /** The program's exit status. */
  readonly status: Promise<number>;
}

/**
 * Passes on what a program reads and prints, as fast as it is taken, until the program's end. `status` rejects with what
 * `lost` makes if the connection ends first or the guest has lost the program, with UKL_VMM for what are no frames: a hostile guest can send anything.
 */
export function openStreams(socket: Socket, stdout: Writable, stderr: Writable, lost: () => UklError): Streams {
  const frames = new FrameSplitter();
  const stdin = new Input(socket);
  const status = new Promise<number>((resolve, reject) => {
    socket.on('error', () => {});
    socket.on('close', () => reject(lost()));
    socket.on('data', (chunk: Buffer) => {
      try {
        let full: Writable | undefined;
        for (const { type, bytes } of frames.push(chunk)) {
          const stream = type === 'o' ? stdout : type === 'e' ? stderr : undefined;
          if (stream !== undefined && !stream.write(bytes)) full = stream;
          if (type === 'r') stdin.makeRoom(roomIn(bytes));
          if (type !== 'x') continue;
          const ended = statusIn(bytes.toString());
          if (ended === undefined) reject(lost());
          else resolve(ended);
        }
        if (full === undefined) return;
        socket.pause();
        full.once('drain', () => socket.resume());
      } catch (error) {
        reject(error);
        socket.destroy();
      }
    });
  });
  return { stdin, status };
}
