// SPDX-License-Identifier: MIT
/** Two guests on one network, each in ring 0: who serves and who loads it. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { type Guest, type GuestOptions, startGuest } from './harness.js';

/** A cable with two ends, each a path for `--net socket:PATH`: what one guest sends, the other gets. */
class Cable implements AsyncDisposable {
  readonly ends: readonly [string, string];
  readonly #servers: readonly Server[];
  readonly #sockets: Socket[] = [];

  private constructor(ends: readonly [string, string], servers: readonly Server[]) {
    this.ends = ends;
    this.#servers = servers;
    void Promise.all(servers.map(async (server) => ((await once(server, 'connection')) as [Socket])[0])).then((sockets) => {
      const [a, b] = sockets as [Socket, Socket];
      this.#sockets.push(a, b);
      for (const socket of sockets) socket.on('error', () => {});
      a.pipe(b);
      b.pipe(a);
    });
  }

  static async lay(directory: string): Promise<Cable> {
    const ends = [join(directory, 'a'), join(directory, 'b')] as const;
    const servers = ends.map((end) => createServer({ pauseOnConnect: true }).listen(end));
    await Promise.all(servers.map((server) => once(server, 'listening')));
    return new Cable(ends, servers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise((done) => server.close(done))));
  }
}

const SERVER = '10.9.0.1';
const CLIENT = '10.9.0.2';

let work: string;
let cable: Cable;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-pair-'));
  cable = await Cable.lay(work);
});
afterEach(async () => {
  await cable[Symbol.asyncDispose]();
  await rm(work, { recursive: true, force: true });
});

const serve = (program: string, options: GuestOptions): Promise<Guest> =>
  startGuest(program, { ...options, ring: 0, net: `socket:${cable.ends[0]}`, network: `${SERVER}/24` });
const load = (program: string, options: GuestOptions): Promise<Guest> =>
  startGuest(program, { ...options, ring: 0, net: `socket:${cable.ends[1]}`, network: `${CLIENT}/24` });

test('memcached in one guest serves memcslap in the other', async () => {
  await using server = await serve('/usr/bin/memcached', { args: ['-u', 'root', '-vv'] });
  await server.listening(11211);
  const args = [`--servers=${SERVER}:11211`, '--concurrency=4', '--execute-number=200', '--test=get'];
  await using client = await load('/usr/bin/memcslap', { args });
  const { end } = await client.result;
  expect(end, client.stderr.text()).toEqual({ kind: 'exit', status: 0 });
  expect(client.stdout.text()).toMatch(/^Time to get +800 keys by +4 threads/m);
  server.signal('SIGTERM');
  await server.result;
  expect(server.stderr.text().match(/ sending key /g)).toHaveLength(800);
});

/** Of iperf3 --json. */
const report = z.object({ end: z.object({ sum_received: z.object({ bytes: z.number(), bits_per_second: z.number() }) }) });
const MIB = 2 ** 20;

test('iperf3 in one guest sends to iperf3 in the other', async () => {
  await using server = await serve('/usr/bin/iperf3', { args: ['--server', '--one-off'] });
  await server.listening(5201);
  await using client = await load('/usr/bin/iperf3', { args: ['--client', SERVER, '--bytes', '64M', '--json'] });
  const { end } = await client.result;
  expect(end, client.stderr.text()).toEqual({ kind: 'exit', status: 0 });
  const { bytes, bits_per_second: rate } = report.parse(JSON.parse(client.stdout.text())).end.sum_received;
  console.log(`${Math.round(rate / 1e6)} Mbit/s`);
  // What is on the way when the client ends is not counted.
  expect(bytes).toBeGreaterThan(60 * MIB);
  expect((await server.result).end).toEqual({ kind: 'exit', status: 0 });
});
