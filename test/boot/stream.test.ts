// SPDX-License-Identifier: MIT
/**
 * Bytes to and fro through each way of the kernel. UKL_TCP_SCALE=16 makes it a
 * gigabyte and 16,000 connections; docs/notes/express.md has the last result.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { build, type RunningVm, run } from '../../src/sdk/index.js';

const SCALE = Number(process.env.UKL_TCP_SCALE ?? 1);
const BYTES = SCALE * 64 * 2 ** 20;
const CONNECTIONS = SCALE * 1000;
const PORT = 7;

/** The same on each run, and no two blocks alike. */
function* blocks(bytes: number): Generator<Buffer> {
  let seed = Buffer.from('ukl');
  for (let sent = 0; sent < bytes; sent += 65536) {
    seed = createHash('sha256').update(seed).digest();
    yield Buffer.alloc(65536, seed);
  }
}

/** Hashes what comes, up to the end or so many bytes. */
async function hashOf(socket: Socket, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  let left = bytes;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    hash.update(chunk);
    left -= chunk.length;
    if (left <= 0) break;
  }
  return left === 0 ? hash.digest('hex') : `${bytes - left} bytes`;
}

describe.each([
  { way: 'ordinary', express: false, cpus: 1 },
  { way: 'express', express: true, cpus: 1 },
  { way: 'express, two processors', express: true, cpus: 2 },
])('$way', ({ express, cpus }) => {
  let work: string;
  let vm: RunningVm;
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'ukl-stream-'));
    const image = join(work, 'image');
    await build({ name: 'echo', sources: [join(projectRoot, 'test/net/echo.c')], libs: ['-lpthread'] }, { out: image, container: 'elf', express });
    vm = await run(image, { accel: 'tcg', ports: [`0:${PORT}`], cpus });
    vm.stdout.resume();
    vm.stderr.resume();
    await vm.listening(PORT);
  });
  afterAll(async () => {
    await vm[Symbol.asyncDispose]();
    await rm(work, { recursive: true, force: true });
  });

  const open = async (): Promise<Socket> => {
    const socket = connect({ port: vm.port(PORT), host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    await once(socket, 'connect');
    return socket;
  };
  const say = async (socket: Socket, data: Buffer): Promise<void> => {
    if (!socket.write(data)) await once(socket, 'drain');
  };
  const expected = (bytes: number): string => {
    const hash = createHash('sha256');
    for (const block of blocks(bytes)) hash.update(block);
    return hash.digest('hex');
  };

  // One client for each kind of calls that the server has.
  test(`${BYTES / 2 ** 20} MiB by each kind of calls, all at once`, async () => {
    const results = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const socket = await open();
        const heard = hashOf(socket, BYTES / 4);
        for (const block of blocks(BYTES / 4)) await say(socket, block);
        socket.end();
        return heard;
      }),
    );
    expect(results).toEqual(Array.from({ length: 4 }, () => expected(BYTES / 4)));
  });

  test('a client that sends all before it reads anything, and closes its half', async () => {
    const socket = await open();
    socket.pause();
    // As much as fits between the two, whose readers do not read.
    const bytes = 256 * 1024;
    for (const block of blocks(bytes)) socket.write(block);
    socket.end();
    await setTimeout(300); // the reader is slow: nothing is awaited
    expect(await hashOf(socket, bytes)).toBe(expected(bytes));
  });

  test(`${CONNECTIONS} connections, a hundred at a time`, async () => {
    let answered = 0;
    let begun = 0;
    const one = async (): Promise<void> => {
      while (begun++ < CONNECTIONS) {
        const socket = await open();
        socket.end('hello');
        let heard = '';
        for await (const chunk of socket) heard += String(chunk);
        if (heard === 'hello') answered++;
      }
    };
    await Promise.all(Array.from({ length: 100 }, one));
    expect(answered).toBe(CONNECTIONS);
  });
});
