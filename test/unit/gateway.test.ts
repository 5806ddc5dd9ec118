// SPDX-License-Identifier: MIT
/** The gateway between clients and servers that mean no good. The servers are of this process. */
import { once } from 'node:events';
import { createServer as createHttp, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Backend, Server } from '../../src/functions/backend.js';
import { type Gateway, startGateway } from '../../src/functions/gateway.js';
import { Bodies, destinationOf, passedOn } from '../../src/functions/incoming.js';
import { readRemotes, remoteBackend } from '../../src/functions/remote.js';
import type { Served } from '../../src/functions/service.js';
import { functionSchema } from '../../src/options/function.js';

const closing: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

/** Listens on loopback; the URL. */
async function listening(server: NetServer): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket.on('error', () => {}));
    socket.once('close', () => sockets.delete(socket));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A server that says what it was asked. */
const echo = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
  const body = await text(incoming);
  outgoing.setHeader('x-ukl-own', 'kept').end(JSON.stringify({ method: incoming.method, url: incoming.url, headers: incoming.headers, body }));
};

interface Echo {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** One that says these bytes to each request, and ends the connection or not. */
const saying = (bytes: string, end: boolean): NetServer =>
  createServer((socket) => void socket.once('data', () => (end ? socket.end(bytes, 'latin1') : socket.write(bytes, 'latin1'))));

const served = (name: string, backend: Backend, options: Parameters<typeof functionSchema.parse>[0] = {}): Served => ({
  name,
  options: functionSchema.parse(options),
  backend,
});

async function gatewayOf(functions: readonly Served[], onLine?: (line: string) => void): Promise<Gateway> {
  const gateway = await startGateway(functions, { warm: 0, onLine });
  closing.push(() => gateway.close());
  return gateway;
}

/** All that the gateway says to some bytes. */
async function said(gateway: Gateway, bytes: string): Promise<string> {
  const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.write(bytes, 'latin1');
  return text(socket);
}

const status = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);

describe('what a client sends', () => {
  let gateway: Gateway;
  const get = (head: string, body = ''): Promise<string> => said(gateway, `${head.replaceAll('\n', '\r\n')}\r\nConnection: close\r\n\r\n${body}`);
  const echoed = async (head: string, body = ''): Promise<Echo> => JSON.parse((await get(head, body)).split('\r\n\r\n')[1] ?? '') as Echo;
  beforeAll(async () => {
    const url = await listening(createHttp((incoming, outgoing) => void echo(incoming, outgoing)));
    gateway = await gatewayOf([
      served('echo', remoteBackend(url), { maxBody: '1K' }),
      served('root', remoteBackend(url, 'inside.example'), { path: '/', host: 'own.example' }),
    ]);
  });

  test.each([
    ['two lengths', 'POST /echo HTTP/1.1\nHost: x\nContent-Length: 4\nContent-Length: 5', 'abcde', 400],
    ['a length and chunks', 'POST /echo HTTP/1.1\nHost: x\nContent-Length: 4\nTransfer-Encoding: chunked', '0\r\n\r\n', 400],
    ['chunks that are none', 'POST /echo HTTP/1.1\nHost: x\nTransfer-Encoding: xchunked', '0\r\n\r\n', 400],
    ['a chunk with a length that is none', 'POST /echo HTTP/1.1\nHost: x\nTransfer-Encoding: chunked', '-1\r\n\r\n', 400],
    ['a name with a blank behind it', 'GET /echo HTTP/1.1\nHost: x\nContent-Length : 4', '', 400],
    ['no host', 'GET /echo HTTP/1.1\nX: x', '', 400],
    ['a host that is none', 'GET /echo HTTP/1.1\nHost: x/../y', '', 400],
    ['a host with a name before it', 'GET /echo HTTP/1.1\nHost: user@x', '', 400],
    ['a path up', 'GET /echo/../root HTTP/1.1\nHost: x', '', 400],
    ['a path up, encoded', 'GET /echo/%2e%2E/root HTTP/1.1\nHost: x', '', 400],
    ['a path up, as Windows writes it', 'GET /echo\\..\\root HTTP/1.1\nHost: x', '', 400],
    ['what is for instances alone', 'GET //.ukl/warm HTTP/1.1\nHost: own.example', '', 404],
    ['a path of nobody', 'GET /echoes HTTP/1.1\nHost: x', '', 404],
    ['a star', 'OPTIONS * HTTP/1.1\nHost: x', '', 400],
    ['too much of a head', `GET /echo HTTP/1.1\nHost: x\nX: ${'x'.repeat(20_000)}`, '', 431],
    ['too much of a body', 'POST /echo HTTP/1.1\nHost: x\nContent-Length: 1025', '', 413],
    ['too much of a body in chunks', 'POST /echo HTTP/1.1\nHost: x\nTransfer-Encoding: chunked', `800\r\n${'x'.repeat(0x800)}\r\n0\r\n\r\n`, 413],
    ['an expectation of more than that', 'POST /echo HTTP/1.1\nHost: x\nExpect: 100-continue\nContent-Length: 1025', '', 413],
    ['an expectation of what is not known', 'POST /echo HTTP/1.1\nHost: x\nExpect: a miracle', '', 417],
    ["a path of a terminal's commands", 'GET /echo?\x1b[2J HTTP/1.1\nHost: x', '', 400],
    ["a path of a terminal's commands in a byte", 'GET /echo?\x9b2J HTTP/1.1\nHost: x', '', 400],
    ['no HTTP', 'hello', '', 400],
  ])('%s is refused', async (_, head, body, wanted) => expect(status(await get(head, body))).toBe(wanted));

  test('a tunnel is not built', async () => expect(await get('CONNECT echo:80 HTTP/1.1\nHost: x')).toBe(''));

  test('headers between neighbours, and those of the gateway alone, are not passed on', async () => {
    const { headers } = await echoed(
      ['GET /echo HTTP/1.1', 'Host: x:1', 'Connection: keep-alive, X-Mine, Host', 'X-Mine: 1', 'Keep-Alive: 5', 'TE: trailers', 'Upgrade: websocket'].join(
        '\n',
      ) + ['', 'X-Ukl-Cron: now', 'X-Forwarded-For: 192.0.2.1', 'X-Forwarded-Proto: https', 'X-Request-Id: a b', 'Cookie: a=1', 'Cookie: b=2'].join('\n'),
    );
    expect(headers).toMatchObject({ host: 'x:1', 'x-forwarded-for': '192.0.2.1, 127.0.0.1', 'x-forwarded-proto': 'https', cookie: 'a=1; b=2' });
    expect(headers['x-request-id']).toMatch(/^[\da-f-]{36}$/);
    for (const name of ['x-mine', 'keep-alive', 'te', 'upgrade', 'x-ukl-cron', 'content-length', 'transfer-encoding']) expect(headers).not.toHaveProperty(name);
    expect(await get('GET /echo HTTP/1.1\nHost: x')).toMatch(/^x-ukl-own: kept\r$/m);
  });

  test('a body in chunks goes on with its length, and one that is expected is asked for', async () => {
    const chunked = await echoed(
      'PUT /echo HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nTrailer: X-Last',
      '3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nX-Last: 1\r\n\r\n',
    );
    expect(chunked).toMatchObject({ body: 'abcd', headers: { 'content-length': '4' } });
    expect(chunked.headers).not.toHaveProperty('x-last');
    const answer = await get('PUT /echo HTTP/1.1\nHost: x\nExpect: 100-continue\nContent-Length: 2', 'ok');
    expect(answer).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
    expect(answer).not.toContain('"expect"');
  });

  test('the absolute form names the host, a host may end with a dot, and a slash that is encoded is none', async () => {
    expect(await echoed('GET http://own.example/a?b HTTP/1.1\nHost: x')).toMatchObject({
      url: '/a?b',
      headers: { host: 'inside.example', 'x-forwarded-host': 'own.example' },
    });
    expect(status(await get('GET http://own.example HTTP/1.1\nHost: x'))).toBe(200);
    expect(status(await get('GET / HTTP/1.1\nHost: Own.Example.:80'))).toBe(200);
    expect((await echoed('GET /echo/a%2Fb HTTP/1.1\nHost: x')).url).toBe('/echo/a%2Fb');
    expect(status(await get('GET /echo%2Fa HTTP/1.1\nHost: x'))).toBe(404);
  });

  test('HEAD has no body', async () => {
    expect((await get('HEAD /echo HTTP/1.1\nHost: x')).split('\r\n\r\n')[1]).toBe('');
  });

  test('requests one behind the other are answered in order', async () => {
    const one = (path: string, more: string): string => `GET /echo/${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
    const answer = await said(gateway, one('1', '') + one('2', '') + one('3', 'Connection: close\r\n'));
    expect([...answer.matchAll(/"url":"([^"]+)"/g)].map(([, url]) => url)).toEqual(['/echo/1', '/echo/2', '/echo/3']);
  });
});

describe('what a server answers', () => {
  const CASES: readonly (readonly [string, string, boolean, number])[] = [
    ['nothing', '', true, 502],
    ['garbage', 'garbage\r\n\r\n', true, 502],
    ['no number', 'HTTP/1.1 abc OK\r\n\r\n', true, 502],
    ['a length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', true, 502],
    ['too much of a head', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, true, 502],
    ['less than it says', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', true, 502],
    ['an upgrade', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n', false, 502],
    ['a head that does not end', 'HTTP/1.1 200 OK\r\nX', false, 504],
    ['a body that does not end', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', false, 504],
    ['"go on" and nothing else', 'HTTP/1.1 100 Continue\r\n\r\n', false, 504],
    ['more than it says', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\n', false, 200],
  ];
  test.each(CASES)('%s', async (_, bytes, end, wanted) => {
    const url = await listening(saying(bytes, end));
    const gateway = await gatewayOf([served('f', remoteBackend(url), { timeout: '300ms' })]);
    const answer = await fetch(`${gateway.url}/f`);
    expect(answer.status).toBe(wanted);
    if (wanted === 200) expect(await answer.text()).toBe('abc');
  });

  test('more than is kept, and not to its end, breaks the connection: no client takes it for whole', async () => {
    const url = await listening(saying(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`, true));
    const gateway = await gatewayOf([served('f', remoteBackend(url))]);
    await expect(fetch(`${gateway.url}/f`).then((answer) => answer.text())).rejects.toThrow();
  });
});

/** Servers of this process as instances, that end as guests do. */
function instances(handler: (incoming: IncomingMessage, outgoing: ServerResponse, nth: number) => void, probe?: string) {
  const state = { started: 0, ended: 0 };
  const backend: Backend = {
    open: async () => {},
    start: async (): Promise<Server> => {
      const nth = ++state.started;
      const server = createHttp((incoming, outgoing) => handler(incoming, outgoing, nth));
      const url = await listening(server);
      let end: (how: string) => void = () => {};
      const over = new Promise<string>((resolve) => {
        end = resolve;
      });
      const kill = (): void => {
        server.closeAllConnections();
        server.close();
        end('killed');
      };
      void over.then(() => state.ended++);
      return {
        address: { host: '127.0.0.1', port: Number(new URL(url).port) },
        how: 'restored',
        keepsConnections: true,
        probe,
        wake: async () => {},
        over,
        kill,
      };
    },
  };
  return { backend, state };
}

describe('an instance', () => {
  test('that ends costs one request: the next one has another instance', async () => {
    const { backend, state } = instances(
      (incoming, outgoing, nth) => void (incoming.url === '/f?crash' ? incoming.socket.destroy() : outgoing.end(String(nth))),
    );
    const gateway = await gatewayOf([served('f', backend)]);
    const ask = async (what: string): Promise<string> => {
      const answer = await fetch(`${gateway.url}/f${what}`);
      return answer.status === 200 ? answer.text() : String(answer.status);
    };
    expect([await ask(''), await ask(''), await ask('?crash'), await ask('')]).toEqual(['1', '1', '502', '2']);
    expect(state).toEqual({ started: 2, ended: 1 });
  });

  test('that ends before it answered is followed by another, for what may be repeated, its body included', async () => {
    const { backend } = instances((incoming, outgoing, nth) => void (nth === 1 ? incoming.socket.destroy() : incoming.pipe(outgoing)));
    const gateway = await gatewayOf([served('f', backend, { retries: 1 })]);
    expect((await fetch(`${gateway.url}/f`, { method: 'POST', body: 'x' })).status).toBe(502);
    const again = instances((incoming, outgoing, nth) => void (nth === 1 ? incoming.socket.destroy() : incoming.pipe(outgoing)));
    gateway.replace(served('f', again.backend, { retries: 1 }));
    expect(await (await fetch(`${gateway.url}/f`, { method: 'PUT', body: 'body' })).text()).toBe('body');
  });

  test('is not had by a client that is slow to send', async () => {
    const { backend, state } = instances((incoming, outgoing) => void incoming.pipe(outgoing));
    const gateway = await gatewayOf([served('f', backend, { timeout: '200ms', max: 1 })]);
    const slow = request(`${gateway.url}/f`, { method: 'POST', headers: { 'content-length': '4' } });
    slow.write('ab');
    expect((await fetch(`${gateway.url}/f`)).status).toBe(200);
    slow.end('cd');
    const [answer] = (await once(slow, 'response')) as [IncomingMessage];
    expect(await text(answer)).toBe('abcd');
    expect(state).toEqual({ started: 1, ended: 0 });
  });

  test('outlives a client that is slow to read', async () => {
    const { backend, state } = instances((incoming, outgoing) => void outgoing.end(incoming.url === '/f?much' ? Buffer.alloc(64 << 20) : 'ok'));
    const gateway = await gatewayOf([served('f', backend, { timeout: '500ms', max: 1 })]);
    const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
    socket.write('GET /f?much HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(socket, 'readable');
    expect(await (await fetch(`${gateway.url}/f`)).text()).toBe('ok');
    expect(state).toEqual({ started: 1, ended: 0 });
    socket.destroy();
  });

  test('that a client has left is free once it shows that it does not hang, and is ended if it does', async () => {
    let stuck = false;
    const asked: string[] = [];
    const { backend, state } = instances((incoming, outgoing) => {
      asked.push(incoming.url ?? '');
      if (incoming.url === '/f?leave') return;
      if (!stuck || incoming.url !== '/probe') outgoing.end('ok');
    }, '/probe');
    const gateway = await gatewayOf([served('f', backend, { timeout: '500ms', max: 1 })]);
    const leave = async (): Promise<void> => {
      const before = asked.length;
      const left = request(`${gateway.url}/f?leave`).on('error', () => {});
      left.end();
      await expect.poll(() => asked.length).toBe(before + 1);
      left.destroy();
    };
    await leave();
    expect(await (await fetch(`${gateway.url}/f`)).text()).toBe('ok');
    expect(state).toEqual({ started: 1, ended: 0 });
    stuck = true;
    await leave();
    expect(await (await fetch(`${gateway.url}/f`)).text()).toBe('ok');
    expect(state).toEqual({ started: 2, ended: 1 });
    expect(asked).toEqual(['/f?leave', '/probe', '/f', '/f?leave', '/probe', '/f']);
  });

  test('that hangs is ended when its time is over, and requests that find no place are told so', async () => {
    const { backend, state } = instances((incoming, outgoing) => void (incoming.url === '/f?hang' || outgoing.end('ok')));
    const gateway = await gatewayOf([served('f', backend, { timeout: '600ms', wait: '200ms', queue: 1, max: 1 })]);
    const ask = async (what: string): Promise<number> => (await fetch(`${gateway.url}/f${what}`)).status;
    const hanging = ask('?hang');
    await expect.poll(() => gateway.show()[0]?.active).toBe(1);
    const waiting = ask('');
    await expect.poll(() => gateway.show()[0]?.waiting).toBe(1);
    expect(await ask('')).toBe(429);
    expect(await waiting).toBe(503);
    expect(await hanging).toBe(504);
    expect(await ask('')).toBe(200);
    expect(state).toEqual({ started: 2, ended: 1 });
  });

  test("is never another function's, whatever host and path say", async () => {
    const asked: Record<string, string[]> = { a: [], b: [] };
    const of = (name: string): Served =>
      served(
        name,
        instances((incoming, outgoing) => {
          asked[name]?.push(incoming.url ?? '');
          outgoing.end(name);
        }).backend,
        { path: `/${name}`, host: `${name}.example` },
      );
    const gateway = await gatewayOf([of('a'), of('b')]);
    for (const [path, host, wanted] of [
      ['/a', 'a.example', 200],
      ['/b', 'b.example', 200],
      ['/b', 'a.example', 404],
      ['/a%2F..%2Fb', 'b.example', 404],
      ['//b', 'b.example', 404],
      ['/b/x', 'B.EXAMPLE:1', 200],
      ['/a', 'a.example.b.example', 404],
    ] as const)
      expect(status(await said(gateway, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)), `${host}${path}`).toBe(wanted);
    expect(asked).toEqual({ a: ['/a'], b: ['/b', '/b/x'] });
  });

  test('that waits is woken, and one that cannot be is replaced', async () => {
    const { backend, state } = instances((_, outgoing, nth) => void outgoing.end(String(nth)));
    const ahead: boolean[] = [];
    const waking: Backend = {
      open: async () => {},
      start: async (early, signal) => {
        ahead.push(early);
        const server = await backend.start(early, signal);
        return { ...server, wake: () => (state.started === 2 ? Promise.resolve() : Promise.reject(new Error('gone'))) };
      },
    };
    const gateway = await startGateway([served('f', waking, { concurrency: 1 })], { warm: 1 });
    closing.push(() => gateway.close());
    const ask = async (): Promise<string> => (await fetch(`${gateway.url}/f`)).text();
    expect(await ask()).toBe('1');
    await expect.poll(() => gateway.show()[0]?.standbys).toBe(1);
    expect(ahead).toEqual([false, true]);
  });
});

test('bodies have room together, and give it back', async () => {
  const bodies = new Bodies();
  const outgoing = {} as ServerResponse;
  const part = Buffer.alloc(100 << 20);
  const body = (...parts: Buffer[]): IncomingMessage =>
    Object.assign(
      (async function* () {
        yield* parts;
      })(),
      { headers: { 'transfer-encoding': 'chunked' } },
    ) as unknown as IncomingMessage;
  const limit = 1 << 30;
  const held = await bodies.read(body(part, part), outgoing, limit);
  await expect(bodies.read(body(part), outgoing, limit)).rejects.toMatchObject({ status: 503 });
  held.release();
  held.release();
  expect((await bodies.read(body(part), outgoing, limit)).body?.length).toBe(part.length);
});

test.each([
  ['', 'is no JSON'],
  ['{"f": {}}', 'does not say where'],
  ['{"f": {"url": "https://x"}}', 'does not say where'],
  ['{"f": {"url": "http://x", "timeuot": 1}}', 'does not say where'],
])('%j is no file of backends', (text, message) => expect(() => readRemotes(text, 'backends.json')).toThrow(message));

test('words of a client', () => {
  expect(destinationOf('/a?b', 'x')).toEqual({ host: 'x', url: '/a?b', path: '/a' });
  expect(destinationOf('HTTP://[::1]:80?b', 'x')).toEqual({ host: '[::1]:80', url: '/?b', path: '/' });
  for (const path of ['/..', '/.', '/a/.%2e', '/a/%2E/b', '/a/..;', '/a/...']) {
    if (/;$|\.\.\.$/.test(path)) expect(destinationOf(path, undefined).path).toBe(path);
    else expect(() => destinationOf(path, undefined)).toThrow('dots');
  }
  expect(passedOn({ connection: 'a , B', a: '1', b: '2', c: '3' })).toEqual({ c: '3' });
});
