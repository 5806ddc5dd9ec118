// SPDX-License-Identifier: MIT
/** <ukl-function.h> on the host, where it is the same program. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';

const SOURCE = join(projectRoot, 'test/fixtures/functions/echo.function.c');

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

describe('a function in C', () => {
  let work: string;
  let port: number;
  let child: ChildProcess;
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'ukl-cfunction-'));
    const program = join(work, 'echo');
    const strict = ['-Wall', '-Wextra', '-Werror', '-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover'];
    await exec('gcc', [...strict, `-I${join(projectRoot, 'include')}`, '-o', program, SOURCE]);
    port = await freePort();
    child = spawn(program, [String(port)], { stdio: 'inherit', env: { TOKEN: 't' } });
    await vi.waitFor(async () => expect(await said('GET / HTTP/1.1\r\n\r\n')).toContain('200'), { timeout: 20_000 });
  });
  afterAll(async () => {
    child.kill();
    await rm(work, { recursive: true, force: true });
  });

  /** All that it says to some bytes, in pieces of that size, and to the end. */
  async function said(bytes: string, piece = bytes.length): Promise<string> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const answer = text(socket).catch((error: unknown) => String(error));
    for (let at = 0; at < bytes.length; at += piece) await new Promise((written) => socket.write(bytes.slice(at, at + piece), 'latin1', written));
    socket.end();
    return answer;
  }

  test('answers each request, however it is cut', async () => {
    const bytes = 'GET /a HTTP/1.1\r\nHost: x\r\nx-word:  w \r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 4\r\n\r\nbodyHEAD /c HTTP/1.0\r\n\r\n';
    const whole = await said(bytes);
    const answer = (length: number, body: string): string => `HTTP/1.1 200 \r\ncontent-type: text/plain\r\ncontent-length: ${length}\r\n\r\n${body}`;
    const first = Number(/^GET \/a (\d+) /m.exec(whole)?.[1]);
    const bodies = [`GET /a ${first} t w\n`, `POST /b ${first + 1} t -\nbody`, `HEAD /c ${first + 2} t -\n`] as const;
    expect(whole).toBe(answer(bodies[0].length, bodies[0]) + answer(bodies[1].length, bodies[1]) + answer(bodies[2].length, ''));
    for (const piece of [1, 2, 7, 50]) expect((await said(bytes, piece)).replaceAll(/\d+/g, 'N')).toBe(whole.replaceAll(/\d+/g, 'N'));
  });

  test.each([
    ['chunks', 'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 501],
    ['two lengths', 'POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx', 400],
    ['a length that is none', 'POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n', 400],
    ['no length at all', 'POST / HTTP/1.1\r\nContent-Length:\r\n\r\n', 400],
    ['a length beyond all', `POST / HTTP/1.1\r\nContent-Length: ${'9'.repeat(40)}\r\n\r\n`, 413],
    ['a blank before the colon', 'GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n', 400],
    ['a header without a colon', 'GET / HTTP/1.1\r\nhello\r\n\r\n', 400],
    ['a header without a name', 'GET / HTTP/1.1\r\n: x\r\n\r\n', 400],
    ['a line that ends otherwise', 'GET / HTTP/1.1\r\nA: b\nContent-Length: 1\r\n\r\n', 400],
    ['a first line that ends otherwise', 'GET / HTTP/1.1\nA: b\r\n\r\n', 400],
    ['no version', 'GET /\r\n\r\n', 400],
    ['another version', 'GET / HTTP/2\r\n\r\n', 400],
    ['nothing but an end', '\r\n\r\n', 400],
    ['a zero', 'GET\0 / HTTP/1.1\r\n\r\n', 400],
    ['too many headers', `GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(129)}\r\n`, 431],
    ['a function that says nothing', 'GET /silent HTTP/1.1\r\n\r\n', 500],
  ])('%s', async (_, bytes, status) => expect(await said(bytes)).toMatch(new RegExp(`^HTTP/1.1 ${status} `)));

  test('a head without an end', async () => expect(await said(`GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(20_000)}`)).not.toContain('200'));
  test('is there after all that', async () => {
    expect(await said('GET /.ukl/warm HTTP/1.1\r\n\r\n')).toBe('HTTP/1.1 200 \r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n');
    expect(child.exitCode).toBe(null);
  });
});
