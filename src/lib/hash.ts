// SPDX-License-Identifier: MIT
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { storeRoot } from './paths.js';

/** SHA-256 of a value's JSON text, in hex. Key order counts. */
export function hashValue(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

/** SHA-256 of a file's content, in hex. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/**
 * SHA-256 of a large file that rarely changes: remembered in the store for as
 * long as the file's size, time and inode stay the same.
 *
 * @param check runs before a new hash is remembered; what it throws is passed on
 */
export async function hashFileOnce(path: string, check: () => Promise<void> = async () => {}): Promise<string> {
  const { size, mtimeMs, ino } = await stat(path);
  const memo = join(storeRoot(), 'hashes', hashValue([path, size, mtimeMs, ino]).slice(0, 32));
  try {
    return await readFile(memo, 'utf8');
  } catch {
    await check();
    const hash = await hashFile(path);
    await mkdir(join(storeRoot(), 'hashes'), { recursive: true });
    await writeFile(`${memo}.${process.pid}`, hash);
    await rename(`${memo}.${process.pid}`, memo);
    return hash;
  }
}
