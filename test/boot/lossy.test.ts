// SPDX-License-Identifier: MIT
/** Two guests on a wire that loses, doubles and delays frames: TCP has to send again, on each way. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { build } from '../../src/sdk/index.js';
import { runGuest, startGuest } from './harness.js';

const BYTES = 2 * 2 ** 20;
const PORT = 7;

/** Of a hundred frames. */
const LOST = 3;
const DOUBLED = 2;
/** Overtaken by the next one. */
const DELAYED = 3;

/** Numerical Recipes' generator: the same on each run. */
class Dice {
  #state = 1;

  /** A number below a hundred. */
  roll(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return (this.#state >>> 8) % 100;
  }
}

/** A wire with two ends, each a socket for --net socket:PATH. */
class LossyWire implements AsyncDisposable {
  readonly counts = { passed: 0, lost: 0, doubled: 0, delayed: 0 };
  readonly #servers: Server[] = [];
  readonly #ends: (Socket | undefined)[] = [undefined, undefined];
  readonly #dice = new Dice();

  static async listen(paths: readonly [string, string]): Promise<LossyWire> {
    const wire = new LossyWire();
    for (const [end, path] of paths.entries()) {
      const server = createServer((socket) => wire.#connect(end, socket));
      server.listen(path);
      await once(server, 'listening');
      wire.#servers.push(server);
    }
    return wire;
  }

  #connect(end: number, socket: Socket): void {
    this.#ends[end] = socket;
    let bytes: Buffer = Buffer.alloc(0);
    let held: Buffer | undefined;
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      // QEMU's stream netdev: each frame behind its length, 32 bits.
      for (let size = 0; bytes.length >= 4; bytes = bytes.subarray(size)) {
        size = 4 + bytes.readUInt32BE(0);
        if (bytes.length < size) return;
        const frame = bytes.subarray(0, size);
        const late = held;
        held = undefined;
        if (!this.#pass(1 - end, frame)) held = frame;
        if (late !== undefined) this.#send(1 - end, late);
      }
    });
  }

  /** Whether the frame is dealt with; otherwise it is to come after the next one. */
  #pass(to: number, frame: Buffer): boolean {
    const fate = this.#dice.roll();
    if (fate < LOST) {
      this.counts.lost++;
      return true;
    }
    if (fate < LOST + DELAYED) {
      this.counts.delayed++;
      return false;
    }
    if (fate < LOST + DELAYED + DOUBLED) {
      this.counts.doubled++;
      this.#send(to, frame);
    }
    this.counts.passed++;
    this.#send(to, frame);
    return true;
  }

  #send(to: number, frame: Buffer): void {
    this.#ends[to]?.write(Buffer.from(frame));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#ends) socket?.destroy();
    for (const server of this.#servers) server.close();
  }
}

test.each([{ express: false }, { express: true }])('two megabytes there and back over a lossy wire, express $express', async ({ express }) => {
  const work = await mkdtemp(join(tmpdir(), 'ukl-lossy-'));
  try {
    const ends = [join(work, 'a'), join(work, 'b')] as const;
    await using wire = await LossyWire.listen(ends);
    const server = join(work, 'server');
    const client = join(work, 'client');
    await build({ name: 'echo', sources: [join(projectRoot, 'test/net/echo.c')], libs: ['-lpthread'] }, { out: server, container: 'elf', express });
    await build(join(projectRoot, 'test/net/through.c'), { out: client, container: 'elf' });
    await using guest = await startGuest(server, { accel: 'tcg', net: `socket:${ends[0]}`, network: '10.9.0.1/24' });
    await guest.listening(PORT);
    const { stdout, end } = await runGuest(client, {
      accel: 'tcg',
      net: `socket:${ends[1]}`,
      network: '10.9.0.2/24',
      args: ['10.9.0.1', String(PORT), String(BYTES)],
    });
    expect(end).toEqual({ kind: 'exit', status: 0 });
    expect(stdout).toBe(`${BYTES} bytes came back\n`);
    expect(wire.counts.lost).toBeGreaterThan(10);
    expect(wire.counts.delayed).toBeGreaterThan(10);
    expect(wire.counts.doubled).toBeGreaterThan(10);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
});
