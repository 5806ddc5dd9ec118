// SPDX-License-Identifier: MIT
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { ensurePackages } from '../host/requirements.js';
import { UklError } from '../lib/errors.js';
import { LEASH } from '../lib/leash.js';
import type { StoreContext } from '../store/store.js';
import type { Bytes } from './digest.js';

const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

async function* through(bytes: Bytes, decoder: Duplex, name: string): AsyncGenerator<Buffer> {
  const fed = pipeline(bytes, decoder);
  fed.catch(() => {});
  try {
    yield* decoder as AsyncIterable<Buffer>;
    await fed;
  } catch (cause) {
    throw cause instanceof UklError ? cause : new UklError('UKL_IMAGE', `a layer of ${name} is damaged`, { cause, hint: 'have the image pushed again' });
  } finally {
    decoder.destroy();
  }
}

/** By Debian's zstd: Node.js has it from version 22.15 on only. */
async function* unzstd(bytes: Bytes, name: string): AsyncGenerator<Buffer> {
  const [leash, ...words] = LEASH;
  const child = spawn(leash, [...words, 'zstd', '-dc'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const closed = once(child, 'close');
  const fed = pipeline(bytes, child.stdin);
  fed.catch(() => {});
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    const [status] = (await closed) as [number | null];
    if (status !== 0) throw new UklError('UKL_IMAGE', `a layer of ${name} is damaged`, { hint: 'have the image pushed again' });
    await fed;
  } finally {
    child.kill('SIGKILL');
  }
}

/** What compressed a layer is told by its first bytes: media types may be Docker's, and wrong. */
export async function uncompressed(head: Buffer, bytes: Bytes, name: string, { log, signal }: StoreContext): Promise<Bytes> {
  if (head.subarray(0, GZIP.length).equals(GZIP)) return through(bytes, createGunzip(), name);
  if (!head.subarray(0, ZSTD.length).equals(ZSTD)) return bytes;
  await ensurePackages(log, [{ package: 'zstd', why: 'decompresses layers of container images', file: '/usr/bin/zstd' }], signal);
  return unzstd(bytes, name);
}
