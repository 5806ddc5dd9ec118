// SPDX-License-Identifier: MIT
/** What a detached guest's program prints: records that outlive the guest and its supervisor. */
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { errnoOf } from '../lib/errors.js';
import { RecordFile, RecordReader, rotate } from '../lib/records.js';
import { directoryOf } from './record.js';

export interface JournalEntry {
  /** ISO 8601. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** With the line's end, if it has come. */
  readonly text: string;
}

/** Bytes of a file, after which another one is begun. */
const ROTATE_BYTES = 10 * 1024 * 1024;

const fileOf = (name: string): string => join(directoryOf(name), 'journal');

/** The entries of a guest's journal. */
export const journalOf = (name: string): RecordReader<JournalEntry> => new RecordReader(fileOf(name));

/** The writing end, of which a guest has one. */
export class Journal implements Disposable {
  readonly #path: string;
  #file: RecordFile;

  constructor(name: string) {
    this.#path = fileOf(name);
    this.#file = new RecordFile(this.#path);
  }

  #append(stream: JournalEntry['stream'], text: string): void {
    try {
      if (this.#file.bytes > ROTATE_BYTES) {
        rotate(this.#path);
        const older = this.#file;
        this.#file = new RecordFile(this.#path);
        older[Symbol.dispose]();
      }
      this.#file.append({ time: new Date().toISOString(), stream, text } satisfies JournalEntry);
    } catch (error) {
      // A full disk costs the log, not the guest; nor does a directory that somebody removed.
      if (errnoOf(error) === undefined) throw error;
    }
  }

  /** Takes what the program prints, and hands it to whoever is attached as well. */
  stream(name: JournalEntry['stream'], onData: (chunk: Buffer) => void): Writable {
    const decoder = new StringDecoder('utf8');
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        onData(chunk);
        for (const part of decoder.write(chunk).match(/[^\n]*\n|[^\n]+$/g) ?? []) this.#append(name, part);
        done();
      },
    });
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/** The last so many lines; a line may be several entries. */
export function lastOf(entries: readonly JournalEntry[], lines: number): readonly JournalEntry[] {
  let left = lines;
  let at = entries.length;
  while (at > 0) {
    if (entries[at - 1]?.text.endsWith('\n') || at === entries.length) left--;
    if (left < 0) break;
    at--;
  }
  return entries.slice(at);
}
