// SPDX-License-Identifier: MIT
/** A server that is a handler: with its kernel half and without, on the host as in the guest. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { build } from '../../src/sdk/index.js';
import { freePort, type Guest, startGuest } from './harness.js';

const SOURCE = join(projectRoot, 'test/net/upcall.c');
const PORT = 7;
const FAREWELL = 500_000;

interface Server extends AsyncDisposable {
  readonly port: number;
  /** What it said of clients that left. */
  readonly left: () => number;
  readonly said: () => string;
}

async function onHost(work: string): Promise<Server> {
  const program = join(work, 'upcall');
  await exec('gcc', ['-Wall', '-Werror', '-O2', `-I${join(projectRoot, 'include')}`, '-o', program, SOURCE]);
  const port = await freePort();
  const child = spawn(program, [String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  return {
    port,
    said: () => said,
    left: () => said.split('left').length - 1,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

async function inGuest(work: string, ring: 0 | 3, express: boolean, cpus: number): Promise<Server> {
  const image = join(work, 'image');
  await build({ name: 'upcall', sources: [SOURCE], shortcuts: ['upcall'] }, { out: image, container: 'elf', ring, ...(express ? { express } : {}) });
  const guest: Guest = await startGuest(image, { accel: 'tcg', ports: [`0:${PORT}`], cpus });
  await guest.listening(PORT);
  return {
    port: guest.port(PORT),
    said: () => guest.stdout.text(),
    left: () => guest.stdout.text().split('left').length - 1,
    [Symbol.asyncDispose]: () => guest[Symbol.asyncDispose](),
  };
}

describe.each([
  { title: 'on the host', half: false, start: onHost },
  { title: 'in ring 3', half: false, start: (work: string) => inGuest(work, 3, false, 1) },
  { title: 'in ring 0', half: true, start: (work: string) => inGuest(work, 0, false, 1) },
  { title: 'in ring 0, express', half: true, start: (work: string) => inGuest(work, 0, true, 1) },
  { title: 'in ring 0, express, two processors', half: true, start: (work: string) => inGuest(work, 0, true, 2) },
])('upcall $title', ({ start, half }) => {
  let work: string;
  let server: Server;
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'ukl-upcall-'));
    server = await start(work);
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await rm(work, { recursive: true, force: true });
  });

  const open = async (): Promise<Socket> => {
    for (;;) {
      const socket = connect({ port: server.port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
      const connected = await once(socket, 'connect').then(
        () => true,
        () => false,
      );
      if (connected) return socket;
      await setTimeout(50); // the host's server may not listen yet
    }
  };
  const read = async (socket: Socket, bytes: number): Promise<Buffer> => {
    const chunks: Buffer[] = [];
    socket.setMaxListeners(0);
    let length = 0;
    while (length < bytes) {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) {
        await Promise.race([once(socket, 'readable'), once(socket, 'close').then(() => Promise.reject(new Error(`closed after ${length} bytes`)))]);
        continue;
      }
      chunks.push(chunk);
      length += chunk.length;
    }
    return Buffer.concat(chunks);
  };

  test('it says whether it has its kernel half', async () => {
    await expect.poll(() => server.said(), { timeout: 10_000 }).toContain(half ? 'with the kernel half' : 'without the kernel half');
  });

  test('pieces that are too short are kept until there is more', async () => {
    const socket = await open();
    socket.write('a');
    socket.write('b');
    await setTimeout(100);
    expect(socket.read()).toBeNull();
    socket.write('c');
    expect((await read(socket, 3)).toString()).toBe('abc');
    socket.destroy();
  });

  test('four megabytes there and back, on ten connections', async () => {
    const data = Buffer.alloc(400_000);
    for (let at = 0; at < data.length; at += 4) data.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        const socket = await open();
        socket.write(data);
        expect((await read(socket, data.length)).equals(data)).toBe(true);
        socket.destroy();
      }),
    );
  });

  test('a client that has ended its half gets its answer, and then the end', async () => {
    const socket = await open();
    socket.end('the end');
    expect((await read(socket, 7)).toString()).toBe('the end');
    const ended = once(socket, 'end');
    socket.resume();
    await ended;
    socket.destroy();
  });

  test('the last answer is sent whole before the connection is closed, to a client that reads late', async () => {
    const socket = await open();
    socket.write('bye');
    await setTimeout(300);
    expect((await read(socket, FAREWELL)).equals(Buffer.alloc(FAREWELL, 'b'))).toBe(true);
    const ended = once(socket, 'end');
    socket.resume();
    await ended;
    socket.destroy();
  });

  test('who sends without ever reading is dropped, and nobody else waits for it', async () => {
    const hog = await open();
    hog.on('error', () => {});
    const gone = new Promise((resolve) => hog.once('close', resolve));
    const feed = (): void => {
      while (!hog.destroyed && hog.write(Buffer.alloc(65536, 'x')));
      hog.once('drain', feed);
    };
    feed();
    const other = await open();
    other.write('hello');
    expect((await read(other, 5)).toString()).toBe('hello');
    other.destroy();
    await gone;
  });

  test('a thousand clients that come and go, and some that reset', async () => {
    const before = server.left();
    for (let group = 0; group < 20; group++) {
      await Promise.all(
        Array.from({ length: 50 }, async (_, index) => {
          const socket = await open();
          socket.write('hello');
          expect((await read(socket, 5)).toString()).toBe('hello');
          if (index % 5 === 0) socket.resetAndDestroy();
          else socket.destroy();
        }),
      );
    }
    // All of them have been noticed.
    while (server.left() - before < 1000) await setTimeout(50);
  });
});
