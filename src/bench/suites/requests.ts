// SPDX-License-Identifier: MIT
/** What a request costs a server whose clients are outside: exact numbers of instructions and of events, by a plugin of the VMM's. */
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { getCounter } from '../../guest/programs.js';
import { openImage } from '../../image/image.js';
import { findKernel } from '../../kernels/kernel.js';
import { UklError } from '../../lib/errors.js';
import { exec } from '../../lib/exec.js';
import { silentLog } from '../../lib/log.js';
import { projectRoot } from '../../lib/paths.js';
import { makeScratch } from '../../lib/scratch.js';
import type { Load as OptimizedFor } from '../../optimize/optimize.js';
import { Counter, placesIn, since } from '../counter.js';
import { startDebian } from '../debian.js';
import { httpAnswer, Load, type Talk, upTo } from '../load.js';
import { cyclesOf, MODELS } from '../model.js';
import { start } from '../pid1.js';
import { postgresMessages, postgresQuery, postgresStartup } from '../postgres.js';
import { type Built, type Metric, type Suite, USUAL, type Workload } from '../suite.js';

interface Server {
  readonly title: string;
  readonly target: Workload['target'];
  readonly port: number;
  readonly talk: Talk;
  readonly connections: readonly number[];
  /** Further models of the processor, for which the kernel turns mitigations on, with the first number of connections. */
  readonly cpus?: readonly string[];
  /** The server's path in the guest, if it is not the program that starts. */
  readonly program?: string;
  /** Whether Debian's kernel runs it too. */
  readonly debian?: boolean;
  /** Whether the kernel is also optimised for it: two builds of a kernel. */
  readonly optimized?: boolean;
  /** That are counted; a quarter of them, first, are not. */
  readonly requests: number;
}

const http = (path = '/'): Talk => ({ question: `GET ${path} HTTP/1.1\r\nHost: guest\r\n\r\n`, answer: httpAnswer });

/** RESP: a line, or a string of the length that the line gives (redis.io, protocol specification). */
function redisAnswer(bytes: Buffer): number | undefined {
  const line = upTo('\r\n')(bytes);
  if (line === undefined || bytes[0] !== '$'.charCodeAt(0)) return line;
  const whole = line + Number(bytes.toString('latin1', 1, line)) + 2;
  return bytes.length < whole ? undefined : whole;
}

/** ReadyForQuery is the last message of an answer. */
function postgresAnswer(bytes: Buffer): number | undefined {
  for (const { type, body, end } of postgresMessages(bytes)) {
    if (type === 'E') throw new UklError('UKL_VMM', `the server refuses: ${body.toString('latin1')}`);
    if (type === 'Z') return end;
  }
  return undefined;
}

export const SERVERS: Readonly<Record<string, Server>> = {
  http: {
    title: 'a small HTTP server with poll()',
    target: join(projectRoot, 'examples/http'),
    port: 80,
    talk: http(),
    connections: [8, 1],
    cpus: ['Skylake-Server', 'EPYC'],
    optimized: true,
    requests: 4000,
  },
  redis: {
    title: 'redis GET',
    target: { name: 'redis', program: '/usr/bin/redis-server', args: ['--save', '', '--appendonly', 'no', '--protected-mode', 'no'], ports: ['6379:6379'] },
    port: 6379,
    talk: { greeting: 'SET key xyz\r\n', question: '*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n', answer: redisAnswer },
    connections: [16, 1],
    optimized: true,
    requests: 4000,
  },
  memcached: {
    title: 'memcached get',
    target: { name: 'memcached', program: '/usr/bin/memcached', args: ['-u', 'root'] },
    port: 11211,
    talk: { greeting: 'set key 0 0 3\r\nxyz\r\n', question: 'get key\r\n', answer: (bytes) => upTo('STORED\r\n')(bytes) ?? upTo('END\r\n')(bytes) },
    connections: [8, 1],
    requests: 4000,
  },
  postgres: {
    title: 'PostgreSQL, select 1',
    target: join(projectRoot, 'examples/postgres-server'),
    program: '/usr/local/pgsql/bin/postgres',
    port: 5432,
    talk: { greeting: postgresStartup, question: postgresQuery('select 1'), answer: postgresAnswer },
    connections: [8],
    // Debian's kernel has not been tried with it.
    debian: false,
    requests: 2000,
  },
  nginx: {
    title: 'nginx, a small file',
    target: join(projectRoot, 'examples/nginx'),
    port: 80,
    talk: http(),
    connections: [8],
    // It closes a connection after 1,000 (keepalive_requests), and they are not spread evenly.
    requests: 1500,
  },
  node: {
    title: 'node:http',
    target: join(projectRoot, 'examples/typescript/http.ts'),
    port: 8080,
    talk: http(),
    connections: [8],
    requests: 4000,
  },
};

/** Events beside the instructions, by their names in vmm-plugins/count.c. */
const EVENTS: Readonly<Record<string, string>> = {
  kick: 'notifications of a device',
  interrupt: 'interrupts of devices',
  timer: 'interrupts of the timer',
  crossing: 'entries into the kernel by SYSCALL',
  iret: 'returns by IRET',
  cr3: 'switches of the address space',
  halt: 'times idle',
};

/** A server that listens, and counts what it does. */
interface Counted extends AsyncDisposable {
  readonly port: number;
}

/** How long a server that may not be up yet has for its first answer, and how often it is asked. */
const PATIENCE_MS = 1000;
const RETRY_MS = 100;

/** Whether a server answers a question now. */
async function serves(port: number, talk: Talk): Promise<boolean> {
  try {
    using load = await Load.connect(port, talk, 1, AbortSignal.timeout(PATIENCE_MS));
    await load.run(1);
    return true;
  } catch {
    return false;
  }
}

async function startOurs(built: Built, { port, talk }: Server, file: string, socket: string, cpu: string | undefined): Promise<Counted> {
  const vmlinux = await findKernel(built.manifest.kernel.sha256);
  if (vmlinux === undefined) throw new UklError('UKL_IMAGE', 'the symbols of the kernel are gone', { hint: 'ukl build, which makes them again' });
  const vm = await start(built, {
    ports: [`0:${port}`],
    ...(cpu === undefined ? {} : { cpu }),
    plugin: { file, args: { socket, at: placesIn(await exec('nm', [vmlinux])) } },
    // Else the symbols' addresses would not be theirs.
    kernelArgs: ['nokaslr'],
  });
  vm.stdout.resume();
  vm.stderr.resume();
  await vm.listening(port);
  // One that listens may still have to start.
  while (!(await serves(vm.port(port), talk))) {
    if (vm.state === 'ended') throw new UklError('UKL_VMM', 'the guest ended before its server answered');
    await setTimeout(RETRY_MS);
  }
  return { port: vm.port(port), [Symbol.asyncDispose]: () => vm[Symbol.asyncDispose]() };
}

/** Debian keeps the symbols of its kernels in packages of a gigabyte: what is counted by address is not known of them. */
async function startTheirs(built: Built, { port, talk }: Server, file: string, socket: string, cpu = 'max'): Promise<Counted> {
  const plugin = `file=${file},socket=${socket},at=`;
  const guest = await startDebian(await openImage(built.image), { port, plugin, cpu }, { log: silentLog, signal: built.signal });
  // QEMU takes connections before the guest does: only an answer tells.
  while (!(await serves(guest.port, talk))) {
    await setTimeout(RETRY_MS);
    if (!guest.ended.aborted && built.signal?.aborted !== true) continue;
    const details = (await guest.said()).split('\n').slice(-5).join('\n');
    await guest[Symbol.asyncDispose]();
    throw new UklError('UKL_VMM', "the guest with Debian's kernel ended before its server answered", { details });
  }
  return guest;
}

/** What each of a server's requests takes, by name. Exported for trying things out. */
export async function count(built: Built, server: Server, connections: number, cpu?: string): Promise<Record<string, number>> {
  await using scratch = await makeScratch('count');
  const socket = join(scratch.path, 'socket');
  using counter = await Counter.listen(socket);
  const plugin = await getCounter({ log: silentLog, signal: built.signal });
  await using guest = await (built.variant.name === 'debian' ? startTheirs : startOurs)(built, server, plugin, socket, cpu);
  const { talk, requests } = server;
  using load = await Load.connect(guest.port, talk, connections, built.signal);
  await load.run(requests / 4);
  const before = await counter.read();
  const seconds = await load.run(requests);
  const counted = since(before, await counter.read());
  const each = Object.fromEntries(Object.entries(counted).map(([name, number]) => [name, number / requests]));
  // Where kicks are not counted, there is no telling.
  const models = Object.entries(MODELS).map(([name, costs]) => [`model-${name}`, 'kick' in each ? cyclesOf(each, costs) : NaN] as const);
  return { ...each, ...Object.fromEntries(models), crossing: each.syscall ?? 0, second: requests / seconds };
}

/** What a server's kernel is optimised for: what is counted afterwards. */
function optimizedFor({ talk, connections: [connections = 1], requests }: Server): OptimizedFor {
  return {
    key: `${requests} requests: ${String(talk.question)}`,
    give: async (port, signal) => {
      using load = await Load.connect(port, talk, connections, signal);
      await load.run(requests);
    },
  };
}

interface OneLoad {
  readonly key: string;
  readonly title: string;
  readonly server: Server;
  readonly connections: number;
  readonly cpu: string | undefined;
}

const LOADS: readonly OneLoad[] = Object.entries(SERVERS).flatMap(([name, server]) => {
  const title = (connections: number): string => `${server.title}, ${connections} connection${connections === 1 ? '' : 's'}`;
  const [most = 1] = server.connections;
  return [
    ...server.connections.map((connections) => ({ key: `${name}-${connections}`, title: title(connections), server, connections, cpu: undefined })),
    ...(server.cpus ?? []).map((cpu) => ({ key: `${name}-${most}-${cpu}`, title: `${title(most)}, ${cpu}`, server, connections: most, cpu })),
  ];
});

export const requests: Suite = {
  name: 'requests',
  title: 'Requests from outside',
  packages: [
    { package: 'redis-server', why: 'a server to measure', file: '/usr/bin/redis-server' },
    { package: 'memcached', why: 'a server to measure', file: '/usr/bin/memcached' },
  ],
  metrics: LOADS.flatMap(({ key, title: load }): Metric[] => [
    { name: key, title: load, unit: 'instructions a request', better: 'less', clock: 'instructions' },
    { name: `${key}-second`, title: load, unit: 'requests a second', better: 'more', clock: 'wall' },
    ...Object.keys(MODELS).map(
      (model): Metric => ({
        name: `${key}-model-${model}`,
        title: `${load}: a model (${model}), no measurement`,
        unit: 'cycles a request',
        better: 'less',
        clock: 'instructions',
      }),
    ),
    ...Object.entries(EVENTS).map(
      ([event, title]): Metric => ({
        name: `${key}-${event}`,
        title: `${load}: ${title}`,
        unit: 'a request',
        better: 'less',
        clock: 'instructions',
      }),
    ),
  ]),
  workloads: LOADS.map(({ key, server, connections, cpu }) => ({
    clock: 'wall',
    target: server.target,
    container: 'elf',
    ...(server.program === undefined ? {} : { server: server.program }),
    variants: [...(server.debian === false ? [] : (['debian'] as const)), ...USUAL, 'express', ...(server.optimized ? (['optimized'] as const) : [])],
    ...(server.optimized ? { load: optimizedFor(server) } : {}),
    parse: () => ({}),
    measure: async (built) => {
      const { instructions = NaN, ...others } = await count(built, server, connections, cpu);
      return { [key]: instructions, ...Object.fromEntries(Object.entries(others).map(([name, number]) => [`${key}-${name}`, number])) };
    },
  })),
};
