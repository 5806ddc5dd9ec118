// SPDX-License-Identifier: MIT
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { ensurePackages } from '../host/requirements.js';
import { UklError } from '../lib/errors.js';
import { LEASH } from '../lib/leash.js';
import { silentLog } from '../lib/log.js';
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
  await ensurePackages(silentLog, [{ package: 'zstd', why: 'decompresses layers of container images', file: '/usr/bin/zstd' }]);
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

/** What tells how a file is compressed. */
export async function firstBytes(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(ZSTD.length), 0, ZSTD.length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** What compressed a layer is told by its first bytes: media types may be Docker's, and wrong. */
export async function* uncompressed(head: Buffer, bytes: Bytes, name: string): AsyncGenerator<Buffer> {
  if (head.subarray(0, GZIP.length).equals(GZIP)) yield* through(bytes, createGunzip(), name);
  else if (head.equals(ZSTD)) yield* unzstd(bytes, name);
  else yield* bytes;
}
