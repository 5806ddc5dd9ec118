// SPDX-License-Identifier: MIT
import { StringDecoder } from 'node:string_decoder';

/**
 * Cuts what comes in chunks into lines. A character whose bytes are in two
 * chunks stays one character.
 */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8');
  readonly #maximum: number;
  #rest = '';

  /** @param maximum how many UTF-16 units of a line are kept; the others are dropped as they come */
  constructor(maximum = Number.POSITIVE_INFINITY) {
    this.#maximum = maximum;
  }

  /** The lines that end in this chunk, without their ends. */
  push(chunk: Buffer): string[] {
    const lines = this.#decoder.write(chunk).split('\n');
    lines[0] = this.#rest + lines[0];
    this.#rest = this.#cut(lines.pop() ?? '');
    return lines.map((line) => this.#cut(line));
  }

  #cut(line: string): string {
    return line.length > this.#maximum ? line.slice(0, this.#maximum) : line;
  }
}
