// SPDX-License-Identifier: MIT
import { createHash } from 'node:crypto';
import { UklError } from '../lib/errors.js';
import type { Descriptor } from './spec.js';

/** What comes in chunks: a stream of Node.js' is one as well. */
export type Bytes = AsyncIterable<Buffer>;

/** Bytes that are there, as a stream. */
export async function* bytesOf(data: Buffer): AsyncGenerator<Buffer> {
  yield data;
}

/** Passes bytes on until the signal aborts; throws its reason then. */
export async function* abortable(bytes: Bytes, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  for await (const chunk of bytes) {
    signal?.throwIfAborted();
    yield chunk;
  }
}

const algorithmOf = (digest: string): string => digest.slice(0, digest.indexOf(':'));

/** The digest of bytes that are there. */
export const digestOf = (data: Uint8Array | string, algorithm = 'sha256'): string => `${algorithm}:${createHash(algorithm).update(data).digest('hex')}`;

const refuse = (name: string, digest: string, is: string): UklError =>
  new UklError('UKL_IMAGE', `${name} gave other bytes than ${digest}: ${is}`, {
    hint: 'nothing of it was kept; try again, or have the image pushed again',
  });

/** Passes bytes on, and ends with UKL_IMAGE unless they are those of the descriptor. */
export async function* verified(bytes: Bytes, { digest, size }: Pick<Descriptor, 'digest' | 'size'>, name: string): AsyncGenerator<Buffer> {
  const hash = createHash(algorithmOf(digest));
  let count = 0;
  for await (const chunk of bytes) {
    count += chunk.length;
    if (count > size) throw refuse(name, digest, `more than ${size} bytes`);
    hash.update(chunk);
    yield chunk;
  }
  if (count !== size) throw refuse(name, digest, `${count} bytes, not ${size}`);
  const is = `${algorithmOf(digest)}:${hash.digest('hex')}`;
  if (is !== digest) throw refuse(name, digest, is);
}

/** Throws UKL_IMAGE unless the bytes are those of the digest. */
export function checkDigest(data: Uint8Array, digest: string, name: string): void {
  const is = digestOf(data, algorithmOf(digest));
  if (is !== digest) throw refuse(name, digest, is);
}

/** Passes bytes on, and tells their SHA-256 and their number at the end. */
export async function* hashing(bytes: Bytes, tell: (digest: string, size: number) => void): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  let count = 0;
  for await (const chunk of bytes) {
    count += chunk.length;
    hash.update(chunk);
    yield chunk;
  }
  tell(`sha256:${hash.digest('hex')}`, count);
}

/** All of what comes in chunks. Throws UKL_IMAGE if it is more than `most` bytes. */
export async function collect(bytes: Bytes, most: number, name: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let count = 0;
  for await (const chunk of bytes) {
    count += chunk.length;
    if (count > most) throw new UklError('UKL_IMAGE', `${name} is larger than ${most} bytes`, { hint: 'it is none that a registry takes' });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
