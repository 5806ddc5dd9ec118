// SPDX-License-Identifier: MIT
/** TCP is Linux's on either way through the kernel: one segment at a time, right ones and wrong ones, to a server in ring 0. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import type { RunningVm } from '../../src/sdk/index.js';
import { build, run } from '../../src/sdk/index.js';
import { Connection, GUEST, type Segment, Wire } from './peer.js';

const PORT = 80;
const RESEND_MS = 200;
const REQUEST = 'GET / HTTP/1.1\r\n\r\n';
const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n';

describe.each([
  { way: 'ordinary', express: false },
  { way: 'express', express: true },
])('$way', ({ express }) => {
  let work: string;
  let wire: Wire;
  let vm: RunningVm;
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'ukl-tcp-'));
    const image = join(work, 'image');
    await build(join(projectRoot, 'examples/http'), { out: image, container: 'elf', express });
    wire = await Wire.listen(join(work, 'wire'));
    vm = await run(image, { accel: 'tcg', net: `socket:${join(work, 'wire')}`, network: `${GUEST}/24`, env: {} });
    vm.stdout.resume();
    vm.stderr.resume();
    await vm.listening(PORT);
    await wire.meet();
  });
  afterAll(async () => {
    await vm[Symbol.asyncDispose]();
    await wire[Symbol.asyncDispose]();
    await rm(work, { recursive: true, force: true });
  });

  const open = (): Promise<Connection> => Connection.open(wire, PORT);
  /** Whatever happened before, the connection serves. */
  const serves = async (connection: Connection): Promise<void> => {
    connection.say(REQUEST);
    expect(await connection.hear()).toBe(ANSWER);
  };

  /** Sends data until it is refused: while the server has the socket in use, what comes for a closed one is dropped. */
  const refused = async (connection: Connection): Promise<Segment> => {
    const refusal = connection.next(({ flags }) => flags.includes('R'));
    for (;;) {
      connection.send('PA', REQUEST);
      const first = await Promise.race([refusal, setTimeout(RESEND_MS, undefined)]);
      if (first !== undefined) return first;
    }
  };

  test('requests are answered, and counted where they go', async () => {
    const count = async (name: string): Promise<number> => Number((await vm.inspect(`root/sys/module/ukl_express/parameters/${name}`))[0] ?? 0);
    const connection = await open();
    const before = [await count('sent'), await count('received')] as const;
    for (let i = 0; i < 20; i++) await serves(connection);
    const more = [(await count('sent')) - before[0], (await count('received')) - before[1]];
    if (!express) expect(more).toEqual([0, 0]);
    else for (const each of more) expect(each).toBeGreaterThan(15);
  });

  test('a request in pieces, the last first', async () => {
    const connection = await open();
    connection.send('PA', REQUEST.slice(5), { seq: connection.seq + 5 });
    // What is missing is asked for (RFC 5681, 4.2).
    expect((await connection.next()).ack).toBe(connection.seq);
    connection.send('A', REQUEST.slice(0, 5));
    connection.seq += REQUEST.length;
    expect(await connection.hear()).toBe(ANSWER);
    await serves(connection);
  });

  test('a request that comes twice is answered once', async () => {
    const connection = await open();
    await serves(connection);
    connection.send('PA', REQUEST, { seq: connection.seq - REQUEST.length });
    const again = await connection.next();
    expect([again.data, again.ack]).toEqual(['', connection.seq]);
    await serves(connection);
  });

  test('an answer that is lost comes again', async () => {
    const connection = await open();
    await serves(connection);
    connection.say(REQUEST);
    const first = await connection.next(({ data }) => data !== '');
    const second = await connection.next(({ data }) => data !== '');
    expect(second.seq).toBe(first.seq);
    expect(await connection.next(({ data }) => data !== '')).toMatchObject({ seq: first.seq, data: ANSWER });
    connection.ack += ANSWER.length;
    connection.send('A');
    await serves(connection);
  });

  test('an answer waits for the window', async () => {
    const connection = await open();
    connection.say(REQUEST, { window: 0 });
    // A window of nothing is probed, with nothing that is new (RFC 9293, 3.8.6.1).
    const probe = await connection.next(({ seq }) => seq === connection.ack - 1);
    expect(probe.data).toBe('');
    connection.send('A', '', { window: 65535 });
    expect(await connection.hear()).toBe(ANSWER);
    await serves(connection);
  });

  test('a byte that is urgent is none of the stream', async () => {
    const connection = await open();
    connection.say(`${REQUEST.slice(0, 7)}!${REQUEST.slice(7)}`, { urgent: 8 });
    // Without URG the pointer means nothing: "!" is of the stream, in a request that is read all the same.
    expect(await connection.hear()).toBe(ANSWER);
    connection.send('PAU', `${REQUEST.slice(0, 7)}!${REQUEST.slice(7)}`, { urgent: 8 });
    connection.seq += REQUEST.length + 1;
    expect(await connection.hear()).toBe(ANSWER);
    await serves(connection);
  });

  test('a half that is closed: the answer comes, and then the end', async () => {
    const connection = await open();
    await serves(connection);
    connection.say(REQUEST);
    connection.send('FA');
    connection.seq++;
    const { data } = await connection.next(({ data: bytes }) => bytes !== '');
    expect(data).toBe(ANSWER);
    connection.ack += ANSWER.length;
    connection.send('A');
    const end = await connection.next(({ flags }) => flags.includes('F'));
    expect([end.seq, end.ack]).toEqual([connection.ack, connection.seq]);
    connection.ack++;
    connection.send('A');
    // In LAST-ACK no more: what comes now belongs to nobody.
    await refused(connection);
  });

  test('a connection that is reset is nobody’s', async () => {
    const connection = await open();
    await serves(connection);
    connection.send('R');
    expect((await refused(connection)).seq).toBe(connection.ack);
  });

  test('a reset outside of the window is asked about, and changes nothing', async () => {
    const connection = await open();
    await serves(connection);
    connection.send('R', '', { seq: connection.seq + 1 });
    // The challenge of RFC 5961, 3.2.
    expect((await connection.next()).ack).toBe(connection.seq);
    await serves(connection);
  });

  test('a wrong checksum is as good as lost', async () => {
    const connection = await open();
    connection.send('PA', 'WRONG\r\n\r\n', { badChecksum: true });
    await serves(connection);
  });

  test('what acknowledges the future is not taken', async () => {
    const connection = await open();
    await serves(connection);
    connection.send('PA', 'WRONG\r\n\r\n', { ack: connection.ack + 100_000 });
    await serves(connection);
  });

  test.each([
    ['fragments, the last first', { fragments: true }],
    // No operation, three times, and the end of options (RFC 791, 3.1).
    ['options of IP', { ipOptions: Buffer.from([1, 1, 1, 0]) }],
  ])('%s', async (_, odd) => {
    const connection = await open();
    connection.say(REQUEST, odd);
    expect(await connection.hear()).toBe(ANSWER);
    await serves(connection);
  });

  test('many connections side by side', async () => {
    const all = await Promise.all(Array.from({ length: 50 }, open));
    for (let i = 0; i < 3; i++) await Promise.all(all.map(serves));
    for (const connection of all) connection.send('R');
  });
});
