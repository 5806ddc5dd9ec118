// SPDX-License-Identifier: MIT
/**
 * Files of JSON lines that grow, and are begun anew when they have become large: the
 * one before is kept beside it. Who reads needs nobody's help. Who writes may be
 * killed in the middle of a line, and the disk may be full there: such a line is
 * no record, and the next one begins behind it.
 */
import { closeSync, fstatSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { errnoOf } from './errors.js';
import { LineSplitter } from './lines.js';

const NEWLINE = 10;

const olderThan = (path: string): string => `${path}.1`;

/** Begins a file anew: who has it open goes on in the older one. */
export const rotate = (path: string): void => renameSync(path, olderThan(path));

/** The writing end. Several may write to a file: each record is one write (O_APPEND). */
export class RecordFile implements Disposable {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, 'a+', 0o600);
  }

  get bytes(): number {
    return fstatSync(this.#fd).size;
  }

  /** Throws the system's error. */
  append(record: object): void {
    writeSync(this.#fd, `${this.#isTorn() ? '\n' : ''}${JSON.stringify(record)}\n`);
  }

  #isTorn(): boolean {
    const last = Buffer.alloc(1);
    const size = this.bytes;
    return size > 0 && readSync(this.#fd, last, 0, 1, size - 1) === 1 && last[0] !== NEWLINE;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parse<T>(line: string): T[] {
  try {
    return [JSON.parse(line) as T];
  } catch {
    return [];
  }
}

/** A reader that goes from the older file to the newer, and on as they grow. */
export class RecordReader<T extends object> implements AsyncDisposable {
  readonly #path: string;
  #file: FileHandle | undefined;
  #position = 0;
  #lines = new LineSplitter();

  constructor(path: string) {
    this.#path = path;
  }

  /** What was appended to the file in hand since the last time. */
  async #more(): Promise<T[]> {
    if (this.#file === undefined) return [];
    const records: T[] = [];
    const buffer = Buffer.alloc(64 * 1024);
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, this.#position);
      if (bytesRead === 0) return records;
      this.#position += bytesRead;
      for (const line of this.#lines.push(Buffer.from(buffer.subarray(0, bytesRead)))) records.push(...parse<T>(line));
    }
  }

  /** Leaves out all that has come until now. */
  async skip(): Promise<void> {
    this.#file = await openIfThere(this.#path);
    this.#position = (await this.#file?.stat())?.size ?? 0;
  }

  /** All records that have come since the last call; at first, all there are. */
  async next(): Promise<T[]> {
    this.#file ??= (await openIfThere(olderThan(this.#path))) ?? (await openIfThere(this.#path));
    const records = await this.#more();
    for (;;) {
      const newer = await openIfThere(this.#path);
      const [now, mine] = [await newer?.stat(), await this.#file?.stat()];
      if (newer === undefined || now?.ino === mine?.ino) {
        await newer?.close();
        return records;
      }
      // Written to until it was renamed.
      records.push(...(await this.#more()));
      await this.#file?.close();
      this.#file = newer;
      this.#position = 0;
      this.#lines = new LineSplitter();
      records.push(...(await this.#more()));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close();
  }
}
