// SPDX-License-Identifier: MIT
/**
 * Third-party programs, at ring 0, tried by their own clients: as
 * Debian built them, the same with our C library, and linked by ukl-gcc from
 * Debian's sources (the projects in examples/).
 */

import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { freePort, host, runGuest, startGuest } from './harness.js';

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-servers-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

const variants = (program: string, example: string) =>
  [
    { how: 'as Debian built it', target: program, libc: 'host' },
    { how: 'as Debian built it, with our C library', target: program, libc: 'ukl' },
    { how: "linked from Debian's source", target: join(projectRoot, 'examples', example), libc: 'ukl' },
  ] as const;

/** "[pass]" and "[FAIL]" per test, without the times. */
function verdicts(output: string): string[] {
  return output
    .split('\n')
    .filter((line) => /\[(pass|FAIL)\]|All tests passed/.test(line))
    .map((line) => line.trim());
}

describe.each(variants('/usr/bin/memcached', 'memcached'))('memcached, $how', ({ target, libc }) => {
  test('passes every memccapable test, as on the host, and serves memcslap', async () => {
    const port = await freePort();
    await using guest = await startGuest(target, { libc, ports: [`${port}:11211`], args: ['-u', 'root', '-vv'] });
    await guest.stderr.until(/server listening/);
    const there = await host('memccapable', ['-h', '127.0.0.1', '-p', String(port)]);
    const slap = await host('memcslap', [`--servers=127.0.0.1:${port}`, '--concurrency=8', '--execute-number=500', '--test=set']);
    guest.signal('SIGINT');
    const result = await guest.result;

    const hostPort = await freePort();
    const server = spawn('memcached', ['-u', 'root', '-vv', '-l', '127.0.0.1', '-p', String(hostPort)], { stdio: ['ignore', 'ignore', 'pipe'] });
    await new Promise<void>((resolve) => {
      server.stderr.on('data', (chunk: Buffer) => {
        if (/server listening/.test(chunk.toString())) resolve();
      });
    });
    const here = await host('memccapable', ['-h', '127.0.0.1', '-p', String(hostPort)]);
    server.kill();

    expect(verdicts(there.stdout)).toEqual(verdicts(here.stdout));
    expect(verdicts(there.stdout).length).toBeGreaterThan(20);
    expect(verdicts(there.stdout).at(-1)).toBe('All tests passed');
    expect(there.code).toBe(0);
    expect(slap.code, slap.stderr).toBe(0);
    expect(result.end).toEqual({ kind: 'exit', status: 0 });
  });
});

describe.each(variants('/usr/bin/redis-server', 'redis'))('redis, $how', ({ target, libc }) => {
  test('serves redis-benchmark, saves to a disk and finds the data after a restart', async () => {
    await rm(join(work, 'redis.img'), { force: true });
    const disk = `${join(work, 'redis.img')}:/data`;
    const args = ['--dir', '/data', '--bind', '0.0.0.0', '--protected-mode', 'no', '--appendonly', 'no'];
    const port = await freePort();
    const cli = (...words: string[]) => host('redis-cli', ['-p', String(port), ...words]);
    {
      await using guest = await startGuest(target, { libc, ports: [`${port}:6379`], disks: [disk], args });
      await guest.stdout.until(/Ready to accept connections/);
      expect((await cli('set', 'planet', 'earth')).stdout).toBe('OK\n');
      const bench = await host('redis-benchmark', ['-p', String(port), '-q', '-n', '2000', '-c', '10', '-t', 'set,get,lpush']);
      expect(bench.code, bench.stderr).toBe(0);
      expect(bench.stdout).toMatch(/GET: [\d.]+ requests per second/);
      expect((await cli('bgsave')).stdout).toMatch(/started/); // forks at ring 0
      await guest.stdout.until(/Background saving terminated with success/);
      expect((await cli('set', 'star', 'sun')).stdout).toBe('OK\n');
      await cli('shutdown', 'save');
      expect((await guest.result).end).toEqual({ kind: 'exit', status: 0 });
    }
    {
      await using guest = await startGuest(target, { libc, ports: [`${port}:6379`], disks: [disk], args });
      await guest.stdout.until(/Ready to accept connections/);
      expect((await cli('mget', 'planet', 'star')).stdout).toBe('earth\nsun\n');
      await cli('shutdown', 'nosave');
      expect((await guest.result).end).toEqual({ kind: 'exit', status: 0 });
    }
  });
});

describe.each(variants('/usr/sbin/nginx', 'nginx'))('nginx, $how', ({ target, libc }) => {
  test('serves wrk from forked workers', async () => {
    const port = await freePort();
    await mkdir(join(work, 'lib/body'), { recursive: true });
    await mkdir(join(work, 'www'), { recursive: true });
    await writeFile(join(work, 'www/index.html'), 'hello from nginx\n');
    await writeFile(
      join(work, 'nginx.conf'),
      `daemon off; worker_processes 2; user www-data; pid /run/nginx.pid;
error_log stderr notice;
events { worker_connections 256; }
http { access_log off; server { listen 80; root /www; } }
`,
    );
    await using guest = await startGuest(target, {
      libc,
      ports: [`${port}:80`],
      cpus: 2,
      args: ['-c', '/etc/nginx/nginx.conf'],
      files: [
        `${join(work, 'nginx.conf')}:/etc/nginx/nginx.conf`,
        `${join(work, 'www')}:/www`,
        `${join(work, 'lib')}:/var/lib/nginx`,
        `${join(work, 'lib')}:/var/log/nginx`,
      ],
    });
    await guest.stderr.until(/(start worker process \d+[\s\S]*){2}/);
    const response = await fetch(`http://127.0.0.1:${port}/`);
    expect(await response.text()).toBe('hello from nginx\n');
    const load = await host('wrk', ['-t', '1', '-c', '8', '-d', '5s', `http://127.0.0.1:${port}/`]);
    expect(load.code, load.stderr).toBe(0);
    expect(load.stdout).not.toMatch(/Non-2xx|Socket errors/);
    expect(Number(/(\d+) requests in/.exec(load.stdout)?.[1])).toBeGreaterThan(100);
    guest.signal('SIGTERM');
    expect((await guest.result).end).toEqual({ kind: 'exit', status: 0 });
  });
});

test("sqlite, linked from Debian's source, runs its own benchmark and finds its data intact", async () => {
  const { stdout, stderr, end } = await runGuest(join(projectRoot, 'examples/sqlite'), { args: ['--size', '5', '--verify', '/tmp/speedtest1.db'] });
  expect(end, stderr).toEqual({ kind: 'exit', status: 0 });
  expect(stdout).toMatch(/PRAGMA integrity_check/);
  expect(stdout).toMatch(/TOTAL\.+ +[\d.]+s/);
  expect(stdout + stderr).not.toMatch(/error|corrupt/i);
});

test("PostgreSQL, linked from Debian's source: initdb, a server of many processes forked in ring 0, pgbench", async () => {
  const { stdout, stderr, end } = await runGuest(join(projectRoot, 'examples/postgres'), {});
  expect(end, stdout + stderr).toEqual({ kind: 'exit', status: 0 });
  for (const name of ['checkpointer', 'background writer', 'walwriter', 'autovacuum launcher'])
    expect(stdout).toMatch(new RegExp(`in ring 0: postgres: ${name}`));
  expect(stdout).toMatch(/transactions actually processed: 200\/200/);
  expect(stdout).toMatch(/failed transactions: 0 /);
  expect(stdout).toMatch(/^100000\|t$/m);
});
