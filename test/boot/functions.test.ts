// SPDX-License-Identifier: MIT
/** Functions: requests that are answered by guests which go on from a snapshot. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatewayOf } from '../../src/functions/deploy.js';
import { GATEWAY_PORT, GATEWAY_STATUS_PORT } from '../../src/functions/gateway.js';
import { projectRoot } from '../../src/lib/paths.js';
import { discover, type Gateway, listSnapshots, run, serveFunctions } from '../../src/sdk/index.js';
import { Sink, ukl } from './harness.js';

const FUNCTION = join(projectRoot, 'test/fixtures/functions/all.function.ts');

const SECRET = 'hush-4f1c8d2e7b';

/** Requests may wait as long as a busy host needs to start an instance. */
const patient = (sources: Awaited<ReturnType<typeof discover>>): typeof sources =>
  sources.map((source) => ({ ...source, options: { ...source.options, wait: 120_000 } }));

describe('a function of TypeScript', () => {
  let gateway: Gateway;
  const lines: string[] = [];
  const ask = (what: string, init: RequestInit = {}): Promise<Response> => fetch(`${gateway.url}/all?do=${what}`, init);
  const text = async (what: string): Promise<string> => (await ask(what)).text();
  beforeAll(async () => {
    process.env.UKL_TEST_VARIABLE = 'of the gateway';
    gateway = await serveFunctions(patient(await discover([FUNCTION])), {
      max: 2,
      secrets: { all: { TOKEN: SECRET } },
      onLine: (line) => void lines.push(line),
    });
  });
  afterAll(async () => {
    await gateway.close();
    delete process.env.UKL_TEST_VARIABLE;
  });

  test('gets the request and its variables, and its answer goes out whole', async () => {
    const body = 'ü'.repeat(100_000);
    const answer = await ask('echo', { method: 'PUT', body, headers: { 'x-request-id': 'mine' } });
    expect(answer.status).toBe(201);
    expect(await answer.text()).toBe(body);
    expect(answer.headers.get('x-method')).toBe('PUT');
    expect(answer.headers.get('x-id')).toBe('mine');
    expect(answer.headers.get('x-request-id')).toBe('mine');
    expect(answer.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    const { variable, token, time } = (await (await ask('env')).json()) as { variable: string; token: string; time: number };
    expect([variable, token]).toEqual(['of the gateway', SECRET]);
    expect(Math.abs(time - Date.now())).toBeLessThan(60_000);
    expect((await ask('nothing')).status).toBe(400);
    expect(lines.some((line) => / mine all PUT \/all\?do=echo 201 \d+ ms$/.test(line))).toBe(true);
  });

  test('has secrets that are in no snapshot', async () => {
    const snapshot = (await listSnapshots()).find(({ name }) => name.startsWith('function-all-'));
    const files = readdirSync(snapshot?.directory ?? '');
    expect(files.sort()).toEqual(expect.arrayContaining(['image', 'memory', 'snapshot.json', 'state']));
    const holders = files.filter((file) => spawnSync('grep', ['-q', '-a', '-F', SECRET, join(snapshot?.directory ?? '', file)]).status !== 1);
    expect(holders).toEqual([]);
  });

  test('draws what no other instance does, and has what its snapshot drew', async () => {
    const first = (await (await ask('random')).json()) as Record<string, unknown>;
    expect((await ask('crash')).status).toBe(502);
    const second = (await (await ask('random')).json()) as Record<string, unknown>;
    expect(second.kept).toEqual(first.kept);
    for (const name of ['uuid', 'web', 'bytes', 'int', 'math', 'values', 'kernel', 'urandom', 'tls']) {
      expect(first[name], name).toBeDefined();
      expect(second[name], name).not.toEqual(first[name]);
    }
  });

  test('has the time, also in an instance that waited', async () => {
    await expect.poll(() => gateway.show()[0]?.standbys, { timeout: 120_000 }).toBe(1);
    const starts = gateway.show()[0]?.starts ?? 0;
    // It stands still meanwhile.
    await setTimeout(2000);
    expect((await ask('crash')).status).toBe(502);
    const before = Date.now();
    const { time } = (await (await ask('env')).json()) as { time: number };
    expect(time).toBeGreaterThanOrEqual(before - 1000);
    expect(time).toBeLessThanOrEqual(Date.now());
    expect(gateway.show()[0]?.starts).toBe(starts + 1);
  });

  test('that throws answers 500 and goes on; one that ends or hangs costs its own request and its instance, with all that it wrote', async () => {
    expect(await text('write')).toBe('written');
    const before = Number(await text('count'));
    expect((await ask('throw')).status).toBe(500);
    expect(Number(await text('count'))).toBe(before + 1);
    expect(await text('look')).toBe('true');
    expect((await ask('hang')).status).toBe(504);
    expect(await text('look')).toBe('false');
    expect(await text('count')).toBe('1');
    expect(lines.join('\n')).toContain('Error: thrown');
  });

  test('has as many instances as may be, a queue with an end, and requests of others never in the same instance at once', async () => {
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => ask('wait&ms=2000').then(({ status }) => status)));
    expect(answers.sort()).toEqual([200, 200, 200, 429, 429]);
    expect(gateway.show()[0]?.instances).toBe(2);
  });

  test('shows what it does', async () => {
    const metrics = await (await fetch(`${gateway.statusUrl}/metrics`)).text();
    expect(metrics).toMatch(/^ukl_requests_total\{function="all",code="504"\} 1$/m);
    expect(metrics).toMatch(/^ukl_starts_total\{function="all",how="restored"\} [4-9]$/m);
    expect(await (await fetch(gateway.statusUrl)).text()).toContain('<title>ukl functions</title>');
    const events = await fetch(`${gateway.statusUrl}/events`);
    const { value } = (await events.body?.getReader().read()) ?? {};
    expect(
      JSON.parse(
        Buffer.from(value ?? [])
          .toString()
          .slice('data: '.length),
      ),
    ).toMatchObject([{ name: 'all', path: '/all', instances: 2 }]);
    expect((await fetch(`${gateway.url}/other`)).status).toBe(404);
  });
});

test('functions in C: each has its path or host, one that has nothing to do makes room for another, and time calls', async () => {
  const [native] = patient(await discover([join(projectRoot, 'examples/functions/native')]));
  if (native === undefined) throw new Error('no function');
  const variant = (name: string, options: Partial<typeof native.options>): typeof native => ({ ...native, name, options: { ...native.options, ...options } });
  const lines = new Sink();
  const sources = [variant('one', { path: '/x' }), variant('two', { host: 'two.example', path: '/' }), variant('three', { cron: '* * * * * *' })];
  await using gateway = await serveFunctions(sources, { max: 1, warm: 0, lazy: true, onLine: (line) => void lines.write(`${line}\n`) });
  const ask = (path: string, host = 'localhost'): Promise<number> =>
    new Promise((resolve, reject) => {
      get(`${gateway.url}${path}`, { headers: { host } }, (answer) => void answer.resume().once('end', () => resolve(answer.statusCode ?? 0))).once(
        'error',
        reject,
      );
    });
  expect(await ask('/x/y')).toBe(200);
  expect(await ask('/x', 'two.example:80')).toBe(200);
  expect(await ask('/')).toBe(404);
  await lines.until(/ three POST \/three 200 /);
  expect(gateway.show().reduce((sum, { instances }) => sum + instances, 0)).toBeLessThanOrEqual(1);
  const metrics = await (await fetch(`${gateway.statusUrl}/metrics`)).text();
  expect(metrics).toMatch(/^ukl_ends_total\{function="one",why="place"\} \d+$/m);
});

test('a function in C by upcalls, and a server that was saved within one: clones listen where the saved one did, and have clients of their own', async () => {
  const [upcall] = patient(await discover([join(projectRoot, 'test/fixtures/functions/upcall')]));
  const [other] = patient(await discover([join(projectRoot, 'examples/functions/native')]));
  if (upcall === undefined || other === undefined) throw new Error('no functions');
  // Not saved by its own word: it waits for clients, with the kernel half open.
  const serving = { ...other, name: 'serving', target: join(projectRoot, 'examples/upcall') };
  await using gateway = await serveFunctions([upcall, serving], { max: 3, secrets: { upcall: { TOKEN: 'a secret' } } });
  const ask = async (path: string, init: RequestInit = {}): Promise<string> => {
    const answer = await fetch(`${gateway.url}${path}`, init);
    return answer.status === 200 ? answer.text() : String(answer.status);
  };
  const body = 'ü'.repeat(100_000);
  expect(await ask('/upcall?1', { method: 'PUT', body, headers: { 'x-word': 'word' } })).toBe(`PUT /upcall?1 1 a secret word\n${body}`);
  const counts = (await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(() => ask('/upcall')))).map((answer) => answer.split(' ')[2]);
  expect(counts.sort()).toEqual(['2', '3', '4', '5', '6', '7', '8', '9']);
  expect([await ask('/upcall?silent'), await ask('/upcall?crash'), await ask('/upcall')]).toEqual(['500', '502', 'GET /upcall 1 a secret -\n']);
  expect(await Promise.all([1, 2, 3].map(() => ask('/serving')))).toEqual(Array(3).fill('Hello, world\n'));
  expect(gateway.show().map(({ starts }) => starts)).toEqual([2, 1]);
});

test('a gateway in a guest: it serves functions that are elsewhere, calls them by time, and ends when it is told to', async () => {
  const called = new Sink();
  const elsewhere = createServer((incoming, outgoing) => {
    called.write(`${incoming.method} ${incoming.url} ${incoming.headers.host} ${incoming.headers['x-ukl-cron'] ?? '-'}\n`);
    outgoing.end('from elsewhere');
  });
  await once(elsewhere.listen(0, '127.0.0.1'), 'listening');
  const { port } = elsewhere.address() as AddressInfo;
  const target = gatewayOf('gateway', {
    one: { url: `http://10.0.2.2:${port}`, as: 'one.inside', cron: '* * * * * *' },
    none: { url: 'http://10.0.2.2:1' },
  });
  await using vm = await run(target, { accel: 'tcg' });
  vm.stdout.resume();
  vm.stderr.resume();
  await vm.listening(GATEWAY_STATUS_PORT);
  const url = `http://127.0.0.1:${vm.port(GATEWAY_PORT)}`;
  expect(await (await fetch(`${url}/one/x?y`)).text()).toBe('from elsewhere');
  expect((await fetch(`${url}/none`)).status).toBe(502);
  expect((await fetch(`${url}/other`)).status).toBe(404);
  await called.until(/GET \/one\/x\?y one\.inside -\n/);
  await called.until(/POST \/one one\.inside \* \* \* \* \* \*\n/);
  expect(await (await fetch(`http://127.0.0.1:${vm.port(GATEWAY_STATUS_PORT)}/metrics`)).text()).toMatch(
    /^ukl_requests_total\{function="none",code="502"\} 1$/m,
  );
  vm.signal('SIGTERM');
  expect((await vm.result).end).toEqual({ kind: 'exit', status: 0 });
  elsewhere.close();
  elsewhere.closeAllConnections();
});

/** VMMs whose memory is a snapshot, started by a process. */
const vmmsOf = (parent: number): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) === parent;
    } catch {
      return false;
    }
  });

test('a gateway that is killed leaves no VMM', async () => {
  const stdout = new Sink();
  const stderr = new Sink();
  const words = ['functions', 'serve', join(projectRoot, 'examples/functions/native'), '--port', '0', '--lazy', '--quiet', '--json'];
  const gateway = spawn(ukl, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  gateway.stdout.pipe(stdout);
  gateway.stderr.pipe(stderr);
  const exit = once(gateway, 'exit');
  void exit.then(() => stdout.over(stderr.text()));
  await stdout.until(/"functions": \[[^\]]*\]\s*\}/);
  const { url } = JSON.parse(stdout.text().slice(0, stdout.text().indexOf('\n}') + 2)) as { url: string };
  expect(await (await fetch(`${url}/native`)).text()).toBe('Hello, world\n');
  const pids = vmmsOf(gateway.pid ?? 0);
  expect(pids.length).toBeGreaterThan(0);
  gateway.kill('SIGKILL');
  await exit;
  // Gone with it, as the kernel does that; a process that is dying may be seen for a moment.
  await expect.poll(() => pids.filter((pid) => readdirSync('/proc').includes(pid)), { timeout: 60_000 }).toEqual([]);
});
