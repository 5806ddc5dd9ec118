// SPDX-License-Identifier: MIT
/**
 * TypeScript programs (examples/typescript) on Node.js in ring 0, tried from
 * outside. What a program prints, and how it ends, is as on the host's Node.js
 * or said here.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { getNode } from '../../src/runtimes/node/release.js';
import { freePort, type Guest, type GuestOptions, host, runGuest, Sink, startGuest, ukl } from './harness.js';

const example = (name: string): string => join(projectRoot, 'examples/typescript', `${name}.ts`);

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-node-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

type Socket = NodeJS.EventEmitter & { send(data: string): void; close(): void };

/** The client of the library that the example uses. */
async function webSocket(): Promise<new (url: string) => Socket> {
  const module = (await import(join(projectRoot, 'examples/typescript/node_modules/ws/wrapper.mjs'))) as { WebSocket: new (url: string) => Socket };
  return module.WebSocket;
}

/** Starts a server of examples/typescript and awaits its word that it listens. */
async function serve(name: string, options: GuestOptions = {}): Promise<Guest & { readonly url: string }> {
  const guest = await startGuest(example(name), { ports: ['0:8080'], ...options });
  await guest.stdout.until(/listening/);
  return Object.assign(guest, { url: `http://127.0.0.1:${guest.port(8080)}` });
}

/** The lines of a program's output, run to its end. */
async function output(name: string, options: Parameters<typeof runGuest>[1] = {}): Promise<string[]> {
  const { stdout, stderr, end } = await runGuest(example(name), options);
  expect(end, stderr).toEqual({ kind: 'exit', status: options.status ?? 0 });
  return stdout.trimEnd().split('\n');
}

describe('servers', () => {
  test('node:http answers, takes the load of wrk, and closes in good order on SIGTERM', async () => {
    await using guest = await serve('http');
    expect(await (await fetch(`${guest.url}/a`)).text()).toBe('Hello from /a\n');
    const { stdout } = await host('wrk', ['-t1', '-c8', '-d5s', '--timeout', '60s', `${guest.url}/`]);
    expect(stdout).toMatch(/Requests\/sec: +[1-9]/);
    expect(stdout).not.toMatch(/Socket errors|Non-2xx/);
    guest.signal('SIGTERM');
    const { end } = await guest.result;
    expect(end).toEqual({ kind: 'exit', status: 0 });
    expect(guest.stdout.text()).toBe('listening\nclosed\n');
  });

  test('hundreds of clients at once are all answered', async () => {
    await using guest = await serve('http');
    const answers = await Promise.all(Array.from({ length: 100 }, async (_, n) => (await fetch(`${guest.url}/${n}`)).text()));
    expect(answers).toEqual(Array.from({ length: 100 }, (_, n) => `Hello from /${n}\n`));
  });

  test('Express', async () => {
    await using guest = await serve('express');
    expect(await (await fetch(guest.url)).text()).toBe('Hello from Express');
    const answer = await fetch(`${guest.url}/sum`, { method: 'POST', body: '[1, 2, 39]', headers: { 'content-type': 'application/json' } });
    expect(await answer.json()).toEqual({ sum: 42 });
    expect((await fetch(`${guest.url}/none`)).status).toBe(404);
  });

  test('Fastify', async () => {
    await using guest = await serve('fastify');
    expect(await (await fetch(`${guest.url}/hello/world`)).json()).toEqual({ hello: 'world' });
    expect((await fetch(`${guest.url}/hello/x`)).status).toBe(400);
  });

  test('Hono', async () => {
    await using guest = await serve('hono');
    const answer = await fetch(guest.url);
    expect(await answer.text()).toBe('Hello from Hono');
    expect((await fetch(guest.url, { headers: { 'if-none-match': answer.headers.get('etag') ?? '' } })).status).toBe(304);
    expect(await (await fetch(`${guest.url}/json/7`)).json()).toEqual({ id: 7 });
  });

  test('WebSocket, to several clients', async () => {
    await using guest = await serve('websocket');
    const WebSocket = await webSocket();
    const clients = [1, 2].map(() => new WebSocket(guest.url.replace('http', 'ws')));
    await Promise.all(clients.map((client) => once(client, 'open')));
    const heard = clients.map((client) => once(client, 'message') as Promise<[Buffer]>);
    clients[0]?.send('to all');
    expect((await Promise.all(heard)).map(([data]) => data.toString())).toEqual(['to all', 'to all']);
    for (const client of clients) client.close();
  });

  test('a cluster serves from several processes, and replaces one that dies', async () => {
    await using guest = await serve('cluster', { cpus: 2 });
    const pids = new Set<string>();
    for (let i = 0; i < 8; i++) pids.add(await (await fetch(guest.url)).text());
    expect(pids.size).toBe(2);
    await fetch(`${guest.url}/die`);
    await guest.stdout.until(/replaced/);
    expect((await fetch(guest.url)).status).toBe(200);
  });

  test('a gigabyte in and a gigabyte out', { timeout: 600_000 }, async () => {
    const GIGABYTE = 2 ** 30;
    await using guest = await serve('stream', { timeout: 600 });
    let received = 0;
    const answer = await fetch(`${guest.url}/${GIGABYTE}`);
    await pipeline(
      Readable.fromWeb(answer.body as never),
      new Writable({
        write(chunk: Buffer, _encoding, done) {
          received += chunk.length;
          done();
        },
      }),
    );
    expect(received).toBe(GIGABYTE);
    const curl = promisify(execFile)('sh', ['-c', `head -c ${GIGABYTE} /dev/zero | curl -sS -X POST -T - ${guest.url}/`]);
    // CRC-32 of 2^30 zero bytes.
    expect(JSON.parse((await curl).stdout)).toEqual({ length: GIGABYTE, crc: 0x5b64c2b0 });
  });

  test('the inspector is reached from the host', async () => {
    await writeFile(join(work, 'ukl.config.json'), JSON.stringify({ entry: example('http'), nodeArgs: ['--inspect=0.0.0.0:9229'], ports: ['0:9229'] }));
    await using guest = await startGuest(work, {});
    await guest.stdout.until(/listening/);
    const [target] = (await (await fetch(`http://127.0.0.1:${guest.port(9229)}/json/list`)).json()) as { webSocketDebuggerUrl: string }[];
    expect(target?.webSocketDebuggerUrl).toMatch(/^ws:/);
    const WebSocket = await webSocket();
    const session = new WebSocket(target?.webSocketDebuggerUrl ?? '');
    await once(session, 'open');
    session.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression: 'process.arch + 6 * 7' } }));
    const [message] = (await once(session, 'message')) as [Buffer];
    expect(JSON.parse(message.toString())).toMatchObject({ id: 1, result: { result: { value: 'x6442' } } });
    session.close();
  });
});

describe('programs', () => {
  test('fetch over TLS from a server of the host', async () => {
    await promisify(execFile)('openssl', [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=host',
      '-addext',
      'subjectAltName=IP:10.0.2.2',
      '-keyout',
      join(work, 'key.pem'),
      '-out',
      join(work, 'cert.pem'),
    ]);
    const server = createTlsServer({ key: await readFile(join(work, 'key.pem')), cert: await readFile(join(work, 'cert.pem')) }, (_request, response) =>
      response.end('over TLS'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `https://10.0.2.2:${(server.address() as AddressInfo).port}/`;
    try {
      expect(await output('fetch', { args: [url], files: [`${join(work, 'cert.pem')}:/etc/ca.pem`], env: { NODE_EXTRA_CA_CERTS: '/etc/ca.pem' } })).toEqual([
        '200 over TLS',
      ]);
      const { stderr, end } = await runGuest(example('fetch'), { args: [url], status: 1 });
      expect(end).toEqual({ kind: 'exit', status: 1 });
      expect(stderr).toMatch(/DEPTH_ZERO_SELF_SIGNED_CERT/);
    } finally {
      server.close();
    }
  });

  test('node:sqlite on a disk remembers the run before, which was killed', async () => {
    const disks = [`${join(work, 'data.img')}:/data`];
    const first = await startGuest(example('sqlite'), { disks });
    await first.stdout.until(/run 1\n/);
    first.kill();
    await first.result;
    expect(await output('sqlite', { disks })).toEqual(['run 2']);
  });

  test.each([
    ['a disk', () => ({ disks: [`${join(work, 'journal.img')}:/data`] })],
    [
      'a volume',
      async () => {
        await mkdir(join(work, 'volume'));
        return { volumes: [`${join(work, 'volume')}:/data`] };
      },
    ],
  ] as const)('what was fsynced to %s is there after a kill in the middle', async (_title, place) => {
    const where = await place();
    const first = await startGuest(example('journal'), { ...where, args: ['100000'] });
    await first.stdout.until(/^written 40$/m);
    first.kill();
    await first.result;
    const written = Math.max(...[...first.stdout.text().matchAll(/^written (\d+)$/gm)].map(([, n]) => Number(n)));
    const [found = ''] = await output('journal', { ...where, args: ['1'] });
    const [, records, last] = /^found (\d+) records, the last says (\d+)$/.exec(found) ?? [];
    expect(Number(records)).toBeGreaterThanOrEqual(written);
    expect(last).toBe(records);
  });

  test.each([
    ['better-sqlite3, a native addon', 'better-sqlite3', ['{ sum: 50005000, modern: 1 }'], 1],
    ['worker threads with shared memory', 'threads', ['400000 of 400000'], 2],
    ['child processes: fork, exec, kill', 'processes', ['fork {"got":{"hello":"child"},"pid":true}', 'exec 42', 'kill null SIGKILL'], 1],
    ['fs.watch', 'watch', ['rename new.txt'], 1],
    ['timers', 'timers', ['timeout interval interval interval microtask tick immediate in time'], 1],
  ] as const)('%s', async (_title, name, lines, cpus) => {
    expect(await output(name, { cpus })).toEqual(lines);
  });

  test('standard input', async () => {
    expect(await output('stdin', { input: '1\n2\n39\n' })).toEqual(['42']);
  });
});

test('examples/api passes its own tests, and its data outlive the guest', async () => {
  const disks = [`${join(work, 'notes.img')}:/data`];
  const { bin } = await getNode('24', { log: silentLog });
  const suite = (guest: Guest) =>
    host(join(bin, 'node'), ['--test', '--test-reporter=tap', join(projectRoot, 'examples/api/test/api.test.ts')], {
      API_URL: `http://127.0.0.1:${guest.port(8080)}`,
    });
  const start = async (): Promise<Guest> => {
    const guest = await startGuest(join(projectRoot, 'examples/api/src/server.ts'), { ports: ['0:8080'], disks });
    await guest.stdout.until(/listening/);
    return guest;
  };
  const user = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: 'walter', password: 'correct horse' }) };
  {
    await using guest = await start();
    const { stdout, code } = await suite(guest);
    expect(code, stdout).toBe(0);
    expect(stdout).toMatch(/^# pass 10$/m);
    expect((await fetch(`http://127.0.0.1:${guest.port(8080)}/users`, user)).status).toBe(201);
    // As if the power had failed.
    guest.kill();
    await guest.result;
  }
  await using guest = await start();
  expect((await fetch(`http://127.0.0.1:${guest.port(8080)}/users`, user)).status).toBe(409);
  expect((await fetch(`http://127.0.0.1:${guest.port(8080)}/tokens`, user)).status).toBe(201);
});

describe('ukl init and ukl dev', () => {
  test('a new project runs, each saved version answers, and what is broken is told', async () => {
    const project = join(work, 'project');
    expect((await host(ukl, ['init', project])).code).toBe(0);
    expect((await host(ukl, ['init', project], { NO_COLOR: '1' })).stderr).toMatch(/has package.json, .* already/);
    const config = join(project, 'ukl.config.ts');
    const port = await freePort();
    await writeFile(config, (await readFile(config, 'utf8')).replace('8080:8080', `${port}:8080`));
    const tool = spawn(ukl, ['dev', project], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1' } });
    const out = new Sink();
    const errors = new Sink();
    tool.stdout.pipe(out);
    tool.stderr.pipe(errors);
    try {
      await out.until(/listening on port 8080\n/);
      const url = `http://127.0.0.1:${port}/x`;
      expect(await (await fetch(url)).text()).toBe('Hello from /x\n');
      const server = join(project, 'server.ts');
      const text = await readFile(server, 'utf8');
      await writeFile(server, text.replace('Hello', 'Hi'));
      await out.until(/(listening[^]*){2}/);
      expect(await (await fetch(url)).text()).toBe('Hi from /x\n');
      await writeFile(server, text.replace('const port = Number(', 'const port: string = Number('));
      await errors.until(/server\.ts\(3,7\): error TS2322/);
      await out.until(/(listening[^]*){3}/);
      await writeFile(server, `${text}}`);
      await errors.until(/could not bundle: Unexpected "}"/);
      expect(await (await fetch(url)).text()).toBe('Hello from /x\n');
      await writeFile(server, 'process.exit(3);\n');
      await errors.until(/ended with status 3; waiting for a change/);
      await writeFile(server, text);
      await out.until(/(listening[^]*){4}/);
      const ended = once(tool, 'exit') as Promise<[number | null]>;
      tool.kill('SIGTERM');
      expect((await ended)[0]).toBe(0);
    } finally {
      tool.kill('SIGKILL');
    }
  });
});

describe('ends', () => {
  test('an uncaught error names the TypeScript file and its lines, with status 1', async () => {
    const { stderr, end } = await runGuest(example('crash'), { status: 1 });
    expect(end).toEqual({ kind: 'exit', status: 1 });
    expect(stderr).toContain("  throw new Broken('as intended');");
    expect(stderr).toMatch(/Broken.*: as intended\n {4}at deep \(\/app\/crash\.ts:6:9\)\n {4}at deep \(\/app\/crash\.ts:5:18\)/);
  });

  test.each([
    ['an unhandled rejection', 'reject', 1],
    ['process.exit(7)', 'exit', 7],
  ])('%s', async (_title, how, status) => {
    const { end } = await runGuest(example('crash'), { args: [how], status });
    expect(end).toEqual({ kind: 'exit', status });
  });

  test('more memory than there is: V8 says so, and the tool too', async () => {
    const { stdout, stderr, code } = await host(ukl, ['run', example('crash'), '-M', '448M', '--accel', 'tcg', '--timeout', '120', '--', 'memory'], {
      NO_COLOR: '1',
    });
    expect(stdout).toBe('');
    expect(stderr).toMatch(/JavaScript heap out of memory|ran out of memory/);
    expect([134, 137]).toContain(code);
  });

  test('the output of the same file on the host is the same', async () => {
    const tsx = join(projectRoot, 'node_modules/tsx/dist/loader.mjs');
    const child = spawn(process.execPath, ['--import', tsx, example('crash')], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    expect(code).toBe(1);
    expect(stderr).toMatch(/crash\.ts:6:9\)\n {4}at deep \(.*crash\.ts:5:18\)/);
  });
});
