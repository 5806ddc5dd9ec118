// SPDX-License-Identifier: MIT
/** Servers of Debian's packages with their own clients, in one guest. */
import { join } from 'node:path';
import { exec } from '../../lib/exec.js';
import { projectRoot } from '../../lib/paths.js';
import { start } from '../pid1.js';
import type { Metric, Suite, Workload } from '../suite.js';

/** Starts a server, awaits its port and runs a client; bash and the client stay in ring 3. */
const script = (server: string, port: number, client: string): string =>
  `${server} >/dev/null 2>&1 & until (exec 3<>/dev/tcp/127.0.0.1/${port}) 2>/dev/null; do :; done; ${client}`;

const perBillion = (name: string, title: string, what = 'requests'): Metric => ({
  name,
  title,
  unit: `${what} per 10⁹ instructions`,
  better: 'more',
  clock: 'instructions',
});

/** Load from this host, in real time: a ratio is all that it says. The number is the suite's perSecond(). */
function fromHost(
  target: Workload['target'],
  port: number,
  command: (port: number) => readonly [string, ...string[]],
  parse: (output: string) => number,
): Workload {
  return {
    clock: 'wall',
    target,
    parse: () => ({}),
    measure: async (built) => {
      await using vm = await start(built, { ports: [`0:${port}`] });
      vm.stdout.resume();
      vm.stderr.resume();
      await vm.listening(port);
      const [program, ...args] = command(vm.port(port));
      return { wall: parse(await exec(program, args, built.signal === undefined ? {} : { signal: built.signal })) };
    },
  };
}

const perSecond = (title: string): Metric => ({ name: 'wall', title: `${title}, from the host`, unit: 'requests per second', better: 'more', clock: 'wall' });

const number = (text: string, pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? NaN);

export const redis: Suite = {
  name: 'redis',
  title: 'Redis',
  packages: [
    { package: 'redis-server', why: 'a server to measure', file: '/usr/bin/redis-server' },
    { package: 'redis-tools', why: 'load for redis', file: '/usr/bin/redis-benchmark' },
    { package: 'bash', why: 'starts server and client', file: '/usr/bin/bash' },
  ],
  metrics: [
    ...[1, 16].flatMap((pipeline) => ['SET', 'GET'].map((verb) => perBillion(`${verb}-${pipeline}`, `${verb}, pipeline of ${pipeline}`))),
    perSecond('GET, 16 connections'),
  ],
  workloads: [
    ...[1, 16].map(
      (pipeline): Workload => ({
        clock: 'instructions',
        target: {
          name: 'redis-bench',
          program: '/usr/bin/bash',
          args: [
            '-c',
            script(
              "redis-server --save '' --appendonly no",
              6379,
              `redis-benchmark -t set,get -c 16 -n ${pipeline === 1 ? 10000 : 60000} -P ${pipeline} --csv`,
            ),
          ],
          files: ['/usr/bin/redis-server', '/usr/bin/redis-benchmark'],
        },
        server: '/usr/bin/redis-server',
        parse: (stdout) => ({ [`SET-${pipeline}`]: number(stdout, /^"SET","([\d.]+)"/m), [`GET-${pipeline}`]: number(stdout, /^"GET","([\d.]+)"/m) }),
      }),
    ),
    fromHost(
      { name: 'redis', program: '/usr/bin/redis-server', args: ['--save', '', '--appendonly', 'no', '--protected-mode', 'no'] },
      6379,
      (port) => ['redis-benchmark', '-p', String(port), '-t', 'get', '-c', '16', '-n', '40000', '--csv'],
      (output) => number(output, /^"GET","([\d.]+)"/m),
    ),
  ],
};

export const memcached: Suite = {
  name: 'memcached',
  title: 'memcached',
  packages: [
    { package: 'memcached', why: 'a server to measure', file: '/usr/bin/memcached' },
    { package: 'libmemcached-tools', why: 'load for memcached', file: '/usr/bin/memcslap' },
    { package: 'bash', why: 'starts server and client', file: '/usr/bin/bash' },
  ],
  metrics: [perBillion('set', 'set, 8 connections'), perBillion('get', 'get, 8 connections'), perSecond('get, 8 connections')],
  workloads: [
    ...(['set', 'get'] as const).map(
      (test): Workload => ({
        clock: 'instructions',
        target: {
          name: 'memcached-bench',
          program: '/usr/bin/bash',
          args: [
            '-c',
            script('memcached -u root', 11211, `memcslap --servers=127.0.0.1:11211 --concurrency=8 --execute-number=1000 --initial-load=100 --test=${test}`),
          ],
          files: ['/usr/bin/memcached', '/usr/bin/memcslap'],
        },
        server: '/usr/bin/memcached',
        // "Time to get 8000 keys by 8 threads: 0.353 seconds."
        parse: (stdout) => ({ [test]: 8000 / number(stdout, new RegExp(`^Time to ${test} +8000 keys by .* ([\\d.]+) seconds`, 'm')) }),
      }),
    ),
    fromHost(
      { name: 'memcached', program: '/usr/bin/memcached', args: ['-u', 'root'] },
      11211,
      (port) => ['memcslap', `--servers=127.0.0.1:${port}`, '--concurrency=8', '--execute-number=2000', '--initial-load=100', '--test=get'],
      (output) => 16000 / number(output, /^Time to get +16000 keys by .* ([\d.]+) seconds/m),
    ),
  ],
};

const NGINX_CONF =
  'daemon off; worker_processes 1; error_log stderr; pid /tmp/nginx.pid; events {} http { access_log off; server { listen 80; location / { return 200 hello; } } }';

export const nginx: Suite = {
  name: 'nginx',
  title: 'nginx',
  packages: [
    { package: 'nginx-light', why: 'a server to measure', file: '/usr/sbin/nginx' },
    { package: 'wrk', why: 'load for nginx', file: '/usr/bin/wrk' },
    { package: 'bash', why: 'starts server and client', file: '/usr/bin/bash' },
  ],
  metrics: [perBillion('requests', 'a short answer, 8 connections'), perSecond('a small file, 8 connections')],
  workloads: [
    {
      clock: 'instructions',
      target: {
        name: 'nginx-bench',
        program: '/usr/bin/bash',
        args: [
          '-c',
          `mkdir -p /var/log/nginx /var/lib/nginx; echo '${NGINX_CONF}' > /tmp/nginx.conf; ${script('nginx -c /tmp/nginx.conf', 80, 'wrk -t1 -c8 -d2s http://127.0.0.1:80/')}`,
        ],
        files: ['/usr/sbin/nginx', '/usr/bin/wrk', '/usr/bin/mkdir'],
      },
      server: '/usr/sbin/nginx',
      parse: (stdout) => ({ requests: number(stdout, /^Requests\/sec: +([\d.]+)/m) }),
    },
    fromHost(
      join(projectRoot, 'examples/nginx'),
      80,
      (port) => ['wrk', '-t1', '-c8', '-d5s', `http://127.0.0.1:${port}/`],
      (output) => number(output, /^Requests\/sec: +([\d.]+)/m),
    ),
  ],
};

/** From Debian's source with either C library, as the example has it; the client of the same build stays in ring 3. */
export const postgres: Suite = {
  name: 'postgres',
  title: 'PostgreSQL',
  packages: [],
  metrics: [perBillion('transactions', 'pgbench, 4 clients', 'transactions')],
  workloads: [
    {
      clock: 'instructions',
      target: join(projectRoot, 'examples/postgres'),
      server: '/usr/local/pgsql/bin/postgres',
      parse: (stdout) => ({ transactions: number(stdout, /^tps = ([\d.]+) /m) }),
    },
  ],
};
