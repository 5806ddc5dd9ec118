// SPDX-License-Identifier: MIT
/**
 * Several streams on one connection: frames of a letter, a length of four bytes
 * (little-endian) and as many bytes.  guest/init/session.c has the guest's half.
 *
 * To the program: s, what to run (the first frame); i, its input, which a frame
 * without bytes ends; k, a signal's number; w, the terminal's rows and columns.
 * From it: o and e, what it prints; r, for how many bytes more there is room (four bytes,
 * little-endian); x, how it ended (the last frame), or that nobody knows.
 *
 * Input goes only where there is room: what it waits for is the program, and nothing that
 * comes behind it, a signal for one, waits with it.
 */
import { UklError } from '../lib/errors.js';

export type FrameType = 's' | 'i' | 'k' | 'w' | 'o' | 'e' | 'r' | 'x';

export interface Frame {
  readonly type: string;
  readonly bytes: Buffer;
}

const HEAD = 5;

/** Of a frame: longer ones are nobody's that we know. */
export const FRAME_MAX = 64 * 1024;

export function encodeFrame(type: FrameType, bytes: Uint8Array | string = ''): Buffer {
  const body = Buffer.from(bytes);
  if (body.length > FRAME_MAX) throw new UklError('UKL_USAGE', `a command with its variables has at most ${FRAME_MAX} bytes, not ${body.length}`);
  const head = Buffer.alloc(HEAD);
  head.write(type, 'latin1');
  head.writeUInt32LE(body.length, 1);
  return Buffer.concat([head, body]);
}

/** A chunk of any length, as frames. */
export function* framesOf(type: FrameType, chunk: Buffer): Generator<Buffer> {
  for (let at = 0; at < chunk.length; at += FRAME_MAX) yield encodeFrame(type, chunk.subarray(at, at + FRAME_MAX));
}

/** Room for so many bytes of input. */
export function encodeRoom(bytes: number): Buffer {
  const count = Buffer.alloc(4);
  count.writeUInt32LE(bytes);
  return encodeFrame('r', count);
}

/** Cuts what comes in chunks into frames. */
export class FrameSplitter {
  #rest: Buffer = Buffer.alloc(0);

  /** Throws UKL_VMM for a frame that is too long. */
  push(chunk: Buffer): Frame[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Frame[] = [];
    let at = 0;
    while (this.#rest.length - at >= HEAD) {
      const length = this.#rest.readUInt32LE(at + 1);
      if (length > FRAME_MAX) throw new UklError('UKL_VMM', `the other end sent a frame of ${length} bytes`);
      if (this.#rest.length - at - HEAD < length) break;
      frames.push({ type: this.#rest.toString('latin1', at, at + 1), bytes: this.#rest.subarray(at + HEAD, at + HEAD + length) });
      at += HEAD + length;
    }
    this.#rest = this.#rest.subarray(at);
    return frames;
  }
}
