// SPDX-License-Identifier: MIT
/** Servers that nobody here wrote, as Debian built them, at ring 0, tried by their own clients. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort, host, startGuest } from './harness.js';

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-servers-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

/** "[pass]" and "[FAIL]" per test, without the times. */
function verdicts(output: string): string[] {
  return output.split('\n').filter((line) => /\[(pass|FAIL)\]|All tests passed/.test(line)).map((line) => line.trim());
}

describe('memcached', () => {
  test('passes every memccapable test, as on the host, and serves memcslap', async () => {
    const port = await freePort();
    await using guest = await startGuest('/usr/bin/memcached', { ports: [`${port}:11211`], args: ['-u', 'root', '-vv'] });
    await guest.stderr.until(/server listening/);
    const there = await host('memccapable', ['-h', '127.0.0.1', '-p', String(port)]);
    const slap = await host('memcslap', [`--servers=127.0.0.1:${port}`, '--concurrency=8', '--execute-number=500', '--test=set']);
    guest.vm.signal('SIGINT');
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

describe('redis', () => {
  test('serves redis-benchmark, saves to a disk and finds the data after a restart', async () => {
    const disk = `${join(work, 'redis.img')}:/data`;
    const args = ['--dir', '/data', '--bind', '0.0.0.0', '--protected-mode', 'no', '--appendonly', 'no'];
    const port = await freePort();
    const cli = (...words: string[]) => host('redis-cli', ['-p', String(port), ...words]);
    {
      await using guest = await startGuest('/usr/bin/redis-server', { ports: [`${port}:6379`], disks: [disk], args });
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
      await using guest = await startGuest('/usr/bin/redis-server', { ports: [`${port}:6379`], disks: [disk], args });
      await guest.stdout.until(/Ready to accept connections/);
      expect((await cli('mget', 'planet', 'star')).stdout).toBe('earth\nsun\n');
      await cli('shutdown', 'nosave');
      expect((await guest.result).end).toEqual({ kind: 'exit', status: 0 });
    }
  });
});

describe('nginx', () => {
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
    await using guest = await startGuest('/usr/sbin/nginx', {
      ports: [`${port}:80`],
      cpus: 2,
      args: ['-c', '/etc/nginx/nginx.conf'],
      files: [`${join(work, 'nginx.conf')}:/etc/nginx/nginx.conf`, `${join(work, 'www')}:/www`, `${join(work, 'lib')}:/var/lib/nginx`, `${join(work, 'lib')}:/var/log/nginx`],
    });
    await guest.stderr.until(/(start worker process \d+[\s\S]*){2}/);
    const response = await fetch(`http://127.0.0.1:${port}/`);
    expect(await response.text()).toBe('hello from nginx\n');
    const load = await host('wrk', ['-t', '1', '-c', '8', '-d', '5s', `http://127.0.0.1:${port}/`]);
    expect(load.code, load.stderr).toBe(0);
    expect(load.stdout).not.toMatch(/Non-2xx|Socket errors/);
    expect(Number(/(\d+) requests in/.exec(load.stdout)?.[1])).toBeGreaterThan(100);
    guest.vm.signal('SIGTERM');
    expect((await guest.result).end).toEqual({ kind: 'exit', status: 0 });
  });
});
