// SPDX-License-Identifier: MIT
/**
 * What a detached guest's program prints: a file of JSON lines, and the one
 * before it. Who reads needs nobody's help, so that logs outlive their guest
 * and its supervisor.
 */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { errnoOf } from '../lib/errors.js';
import { LineSplitter } from '../lib/lines.js';

export interface JournalEntry {
  /** ISO 8601. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** With the line's end, if it has come. */
  readonly text: string;
}

/** Bytes of a file, after which another one is begun. */
const ROTATE_BYTES = 10 * 1024 * 1024;

const FILE = 'journal';
const OLD = 'journal.1';

/** The writing end, of which a guest has one. */
export class Journal {
  readonly #directory: string;
  #fd: number;
  #bytes: number;

  constructor(directory: string) {
    this.#directory = directory;
    this.#fd = openSync(join(directory, FILE), 'a', 0o600);
    this.#bytes = fstatSync(this.#fd).size;
  }

  #append(stream: JournalEntry['stream'], text: string): void {
    const line = Buffer.from(`${JSON.stringify({ time: new Date().toISOString(), stream, text })}\n`);
    try {
      if (this.#bytes > 0 && this.#bytes + line.length > ROTATE_BYTES) {
        renameSync(join(this.#directory, FILE), join(this.#directory, OLD));
        const old = this.#fd;
        this.#fd = openSync(join(this.#directory, FILE), 'a', 0o600);
        closeSync(old);
        this.#bytes = 0;
      }
      this.#bytes += writeSync(this.#fd, line);
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

  close(): void {
    closeSync(this.#fd);
  }
}

function parse(line: string): JournalEntry[] {
  try {
    return [JSON.parse(line) as JournalEntry];
  } catch {
    // Cut off by a full disk.
    return [];
  }
}

/** A reader that goes from the older file to the newer, and on as they grow. */
export class JournalReader implements AsyncDisposable {
  readonly #directory: string;
  #file: FileHandle | undefined;
  #position = 0;
  #lines = new LineSplitter();

  constructor(directory: string) {
    this.#directory = directory;
  }

  async #open(name: string): Promise<FileHandle | undefined> {
    try {
      return await open(join(this.#directory, name));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** What was appended to the file in hand since the last time. */
  async #more(): Promise<JournalEntry[]> {
    if (this.#file === undefined) return [];
    const entries: JournalEntry[] = [];
    const buffer = Buffer.alloc(64 * 1024);
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, this.#position);
      if (bytesRead === 0) return entries;
      this.#position += bytesRead;
      for (const line of this.#lines.push(Buffer.from(buffer.subarray(0, bytesRead)))) entries.push(...parse(line));
    }
  }

  /** All entries that have come since the last call; at first, all there are. */
  async next(): Promise<JournalEntry[]> {
    this.#file ??= (await this.#open(OLD)) ?? (await this.#open(FILE));
    const entries = await this.#more();
    for (;;) {
      const newer = await this.#open(FILE);
      const [now, mine] = [await newer?.stat(), await this.#file?.stat()];
      if (newer === undefined || now?.ino === mine?.ino) {
        await newer?.close();
        return entries;
      }
      // Written to until it was renamed.
      entries.push(...(await this.#more()));
      await this.#file?.close();
      this.#file = newer;
      this.#position = 0;
      this.#lines = new LineSplitter();
      entries.push(...(await this.#more()));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close();
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
