// SPDX-License-Identifier: MIT
/** tar-stream, with its errors in our words and what its types leave out. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Entry, extract, type Headers } from 'tar-stream';
import { UklError } from '../lib/errors.js';
import type { Bytes } from './digest.js';

export interface TarEntry {
  readonly header: Headers & { readonly pax?: Readonly<Record<string, string>> };
  /** Where the content begins in the archive. */
  readonly at: number;
  readonly content: Entry;
}

const BLOCK = 512;

/**
 * Gives each entry of an archive to `take`, one after another; what it does not read is skipped.
 *
 * @throws UKL_IMAGE if the archive is damaged or ends early; what `take` throws
 */
export async function eachEntry(archive: Bytes, name: string, signal: AbortSignal | undefined, take: (entry: TarEntry) => Promise<void>): Promise<void> {
  const reader = extract();
  const fed = pipeline(Readable.from(archive, { objectMode: false }), reader);
  fed.catch(() => {});
  let broken: unknown;
  try {
    for await (const entry of reader as AsyncIterable<Entry & { readonly offset: number }>) {
      try {
        await take({ header: entry.header, at: entry.offset + BLOCK, content: entry });
      } catch (error) {
        broken = error;
        throw error;
      }
      entry.resume();
    }
    await fed;
  } catch (error) {
    reader.destroy();
    await fed.catch(() => {});
    signal?.throwIfAborted();
    if (broken instanceof UklError || error instanceof UklError) throw error;
    throw new UklError('UKL_IMAGE', `${name} is no tar archive, or not a whole one: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
      hint: 'copy or save it again',
    });
  }
}
