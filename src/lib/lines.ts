// SPDX-License-Identifier: MIT
import { StringDecoder } from 'node:string_decoder';

/** Splits a stream of bytes into lines. A character may be in two chunks, and a line in many. */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8');
  readonly #maxLength: number;
  #rest = '';

  /** @param maxLength in characters; what is longer is cut, so that a stream without an end of line takes no memory */
  constructor(maxLength = Number.POSITIVE_INFINITY) {
    this.#maxLength = maxLength;
  }

  /** The lines that a chunk completes. */
  push(chunk: Buffer): readonly string[] {
    const lines = (this.#rest + this.#decoder.write(chunk)).split('\n');
    this.#rest = (lines.pop() ?? '').slice(0, this.#maxLength);
    return lines.map((line) => line.slice(0, this.#maxLength));
  }
}
