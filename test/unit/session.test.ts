// SPDX-License-Identifier: MIT
/** Both ends of a session, without a guest between them. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { encodeFrame, encodeRoom, FRAME_MAX, FrameSplitter } from '../../src/guest/frames.js';
import { encodeRequest } from '../../src/guest/spec.js';
import { dial, listen } from '../../src/lib/listen.js';
import { projectRoot } from '../../src/lib/paths.js';
import { openSession } from '../../src/run/session.js';

let work: string;
let children: ChildProcess[] = [];
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-session-'));
  const init = join(projectRoot, 'guest/init');
  const sources = ['session.c', 'protocol.c', 'terminal.c'].map((name) => join(init, name));
  execFileSync('gcc', [
    '-O1',
    '-Wall',
    '-Werror',
    '-fsanitize=undefined',
    '-I',
    init,
    '-o',
    join(work, 'session'),
    join(projectRoot, 'test/fixtures/session.c'),
    ...sources,
  ]);
}, 60_000);
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
});
afterAll(() => rm(work, { recursive: true }));

function port(): Socket {
  const child = spawn(join(work, 'session'), [], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
  children.push(child);
  return child.stdio[3] as Socket;
}

describe("init's half of a session", () => {
  test('passes streams on, and how the program ended', async () => {
    const session = openSession(port(), { argv: ['sh', '-c', 'cat; echo err >&2; exit 3'] });
    const sent = 'x'.repeat(1_000_000);
    session.stdin.end(sent);
    const [out, err, { exitCode }] = await Promise.all([text(session.stdout), text(session.stderr), session.end]);
    expect([out === sent, err, exitCode]).toEqual([true, 'err\n', 3]);
  });

  test('a signal does not wait behind input that the program does not read', async () => {
    const session = openSession(port(), { argv: ['sleep', '1000'] });
    const over = new Promise<void>((resolve) => session.stdin.write(Buffer.alloc(10_000_000), () => resolve()));
    session.stdout.resume();
    // What there is room for is on its way by now, and the rest waits.
    await expect.poll(() => session.stdin.writableLength).toBe(10_000_000);
    session.signal('SIGINT');
    expect(await session.end).toEqual({ exitCode: 130 });
    await over;
  });

  test('nor behind output that nobody reads', async () => {
    const mark = join(work, 'mark');
    const session = openSession(port(), { argv: ['sh', '-c', `trap 'touch ${mark}; exit 4' USR1; while :; do echo xxxxxxxxxxxxxxxx; done`] });
    await once(session.stdout, 'readable');
    session.signal('SIGUSR1');
    await expect.poll(() => existsSync(mark)).toBe(true);
    session.stdout.resume();
    expect(await session.end).toEqual({ exitCode: 4 });
  });

  test('a program that closes its input is not sent any, and goes on', async () => {
    const session = openSession(port(), { argv: ['sh', '-c', 'exec <&-; echo closed; exec sleep 1000'] });
    await once(session.stdout, 'readable');
    await new Promise((resolve) => session.stdin.write(Buffer.alloc(1_000_000), resolve));
    session.stdout.resume();
    session.signal('SIGTERM');
    expect(await session.end).toEqual({ exitCode: 143 });
  });

  test('a terminal has its end of file, and a size', async () => {
    const session = openSession(port(), { argv: ['sh', '-c', 'stty size; cat'], terminal: { rows: 12, columns: 34 } });
    session.stdin.end('hi\n');
    const [out, { exitCode }] = await Promise.all([text(session.stdout), session.end]);
    expect([out.replaceAll('\r', '').split('\n').sort(), exitCode]).toEqual([['', '12 34', 'hi', 'hi'], 0]);
  });

  test('who leaves at once leaves no program behind', async () => {
    const socket = port();
    const ended = once(children.at(-1) as ChildProcess, 'exit');
    socket.end(encodeFrame('s', encodeRequest({ argv: ['sleep', '1000'] })));
    await ended;
  });

  test('who sends more than there is room for is hung up on', async () => {
    const socket = port();
    socket.on('error', () => {});
    socket.resume();
    socket.write(encodeFrame('s', encodeRequest({ argv: ['sleep', '1000'] })));
    // A pipe has room for one, and init for another.
    for (let times = 0; times < 3; times++) socket.write(encodeFrame('i', Buffer.alloc(FRAME_MAX)));
    await once(socket, 'close');
  });
});

describe("the tool's half", () => {
  const pair = async (): Promise<readonly [Socket, Socket]> => {
    const path = join(work, 'pair');
    const server = await listen(path, createServer());
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const ours = (await dial(path)) as Socket;
    const [theirs] = await accepted;
    server.close();
    theirs.on('error', () => {});
    return [ours, theirs];
  };

  test('sends as much input as there is room for', async () => {
    const [ours, guest] = await pair();
    const session = openSession(ours, { argv: ['x'] });
    session.end.catch(() => {});
    const frames = new FrameSplitter();
    let input = 0;
    guest.on('data', (chunk: Buffer) => {
      for (const { type, bytes } of frames.push(chunk)) if (type === 'i') input += bytes.length;
    });
    session.stdin.write(Buffer.alloc(100));
    for (const [room, sum] of [
      [10, 10],
      [50, 60],
      [1000, 100],
    ] as const) {
      guest.write(encodeRoom(room));
      await expect.poll(() => input).toBe(sum);
    }
    guest.destroy();
    await expect(session.end).rejects.toMatchObject({ code: 'UKL_VMM' });
  });

  test('takes many short frames at once, while nobody reads', async () => {
    const [ours, guest] = await pair();
    const session = openSession(ours, { argv: ['x'] });
    session.end.catch(() => {});
    guest.write(Buffer.concat(Array.from({ length: 50_000 }, () => encodeFrame('o', 'x'))));
    await expect.poll(() => ours.isPaused()).toBe(true);
    expect(session.stdout.listenerCount('drain')).toBe(1);
    guest.end(encodeFrame('x', 'exit 0'));
    expect(await text(session.stdout)).toBe('x'.repeat(50_000));
    expect(await session.end).toEqual({ exitCode: 0 });
  });

  test('believes no guest that has room without end and takes nothing, nor one that sends nonsense', async () => {
    const [ours, guest] = await pair();
    const session = openSession(ours, { argv: ['x'] });
    for (let times = 0; times < 10; times++) guest.write(encodeRoom(0xffffffff));
    session.stdin.write(Buffer.alloc(50_000_000));
    guest.pause();
    await expect.poll(() => ours.writableNeedDrain).toBe(true);
    expect(ours.writableLength).toBeLessThan(1_000_000);
    guest.write(encodeFrame('r', 'x'));
    await expect(session.end).rejects.toThrow('the other end sent room in 1 bytes');
  });
});
