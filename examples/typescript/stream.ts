// SPDX-License-Identifier: MIT
/** POST takes whatever is sent and answers with its length and CRC-32; GET /N sends N bytes. */
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';

const CHUNK = Buffer.alloc(1 << 20, 'ukl');

function* bytes(count: number): Generator<Buffer> {
  for (let left = count; left > 0; left -= CHUNK.length) yield left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK;
}

createServer((request, response) => {
  if (request.method === 'GET') {
    pipeline(Readable.from(bytes(Number(request.url?.slice(1)))), response).catch(() => response.destroy());
    return;
  }
  let crc = 0;
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    crc = crc32(chunk, crc);
    length += chunk.length;
  });
  request.on('end', () => response.end(JSON.stringify({ length, crc })));
}).listen(8080, () => console.log('listening'));
