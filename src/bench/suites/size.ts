// SPDX-License-Identifier: MIT
/** Images, and the least memory that a program runs in, found by halving. */
import { setMaxListeners } from 'node:events';
import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { UklError } from '../../lib/errors.js';
import { projectRoot } from '../../lib/paths.js';
import type { RunOptions } from '../../options/given.js';
import { runs, start } from '../pid1.js';
import { type Built, type Metric, type Suite, USUAL, type Workload } from '../suite.js';

const MIB = 2 ** 20;
/** Of the search, in MiB. */
const STEP = 2;
const MOST = 1024;
/** A guest that swaps its own pages to and fro is not running. */
const GUEST_SECONDS = 30;
/** How often a server that may not be up yet is asked anew. */
const RETRY_MS = 50;

interface Program {
  readonly title: string;
  readonly target: Workload['target'];
  /** A server is asked something, and must answer; any other program must end well. */
  readonly server?: { readonly port: number; readonly question: string; readonly answer: string };
}

const HTTP = { question: 'GET / HTTP/1.0\r\n\r\n', answer: ' 200 OK' } as const;

const PROGRAMS: Readonly<Record<string, Program>> = {
  hello: { title: 'hello', target: join(projectRoot, 'examples/hello') },
  redis: {
    title: 'redis-server',
    target: { name: 'redis', program: '/usr/bin/redis-server', args: ['--protected-mode', 'no'] },
    server: { port: 6379, question: 'PING\r\n', answer: '+PONG' },
  },
  memcached: {
    title: 'memcached',
    target: { name: 'memcached', program: '/usr/bin/memcached', args: ['-u', 'root'] },
    server: { port: 11211, question: 'version\r\n', answer: 'VERSION' },
  },
  nginx: { title: 'nginx', target: join(projectRoot, 'examples/nginx'), server: { port: 80, ...HTTP } },
  node: { title: 'Node.js, hello over HTTP', target: join(projectRoot, 'examples/typescript/http.ts'), server: { port: 8080, ...HTTP } },
};

/** One connection, one question. */
async function answers(port: number, { question, answer }: NonNullable<Program['server']>, signal: AbortSignal): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const close = (): void => void socket.destroy();
  signal.addEventListener('abort', close, { once: true });
  socket.write(question);
  let heard = '';
  try {
    for await (const chunk of socket) {
      heard += String(chunk);
      if (heard.includes(answer)) return true;
    }
  } catch {
    // too early, or never
  } finally {
    signal.removeEventListener('abort', close);
    socket.destroy();
  }
  return false;
}

/** Whether a server in so little memory answers before it dies or the time is over. */
async function serves(built: Built, server: NonNullable<Program['server']>, options: RunOptions): Promise<boolean> {
  await using vm = await start(built, { ...options, ports: [`0:${server.port}`] });
  vm.stdout.resume();
  vm.stderr.resume();
  const over = new AbortController();
  setMaxListeners(0, over.signal);
  const stop = (): void => over.abort();
  vm.result.then(stop, stop);
  let answered = false;
  const ask = async (): Promise<void> => {
    if (!(await answers(vm.port(server.port), server, over.signal))) return;
    answered = true;
    over.abort();
  };
  while (!over.signal.aborted) {
    void ask();
    await setTimeout(RETRY_MS, undefined, { signal: over.signal }).catch(() => {});
  }
  return answered;
}

async function leastMemory(built: Built, server: Program['server']): Promise<number> {
  const enough = (memoryMiB: number): Promise<boolean> => {
    built.signal?.throwIfAborted();
    const options = { memory: `${memoryMiB}M`, anyMemory: true, timeout: GUEST_SECONDS };
    return server === undefined ? runs(built, options) : serves(built, server, options);
  };
  if (!(await enough(MOST))) throw new UklError('UKL_VMM', `it does not run in ${MOST} MiB`);
  let low = 0;
  let high = MOST;
  while (high - low > STEP) {
    const middle = Math.round((low + high) / 2 / STEP) * STEP;
    if (await enough(middle)) high = middle;
    else low = middle;
  }
  return high;
}

export const size: Suite = {
  name: 'size',
  title: 'Size',
  packages: [
    { package: 'redis-server', why: 'a server to measure', file: '/usr/bin/redis-server' },
    { package: 'memcached', why: 'a server to measure', file: '/usr/bin/memcached' },
  ],
  metrics: Object.entries(PROGRAMS).flatMap(([name, { title }]): Metric[] => [
    { name: `${name}-image`, title: `${title}, image`, unit: 'MiB', better: 'less', clock: 'instructions' },
    { name: `${name}-memory`, title: `${title}, least memory`, unit: 'MiB', better: 'less', clock: 'instructions' },
  ]),
  workloads: Object.entries(PROGRAMS).flatMap(([name, { target, server }]): Workload[] => {
    const common: Workload = {
      clock: 'instructions',
      target,
      parse: () => ({}),
      // Under PID 1 nobody would bring the network up.
      variants: server === undefined ? ['pid1', 'pid1-server', 'ring3', 'ring0', 'linked', 'fit'] : [...USUAL, 'fit'],
    };
    return [
      { ...common, measure: async (built) => ({ [`${name}-image`]: (await stat(built.image)).size / MIB }) },
      // As ukl run starts it: nothing is decompressed.
      { ...common, container: 'elf', measure: async (built) => ({ [`${name}-memory`]: await leastMemory(built, server) }) },
    ];
  }),
};
