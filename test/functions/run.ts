// SPDX-License-Identifier: MIT
/**
 * Functions under load while their instances are killed, twenty instances at
 * once, a thousand that nobody asks, and clients that send by drops.
 * `npx tsx test/functions/run.ts [--seconds N] [--rate N]` writes docs/notes/functions.md.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { median, quantile } from '../../src/bench/stats.js';
import { discover, type FunctionSource } from '../../src/functions/discover.js';
import { startGateway } from '../../src/functions/gateway.js';
import { remoteBackend } from '../../src/functions/remote.js';
import { projectRoot } from '../../src/lib/paths.js';
import { functionSchema } from '../../src/options/function.js';
import { createLog, type Gateway, run, serveFunctions } from '../../src/sdk/index.js';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '60' }, rate: { type: 'string', default: '200' } } });
const SECONDS = Number(values.seconds);
const RATE = Number(values.rate);

const log = createLog();
const EXAMPLES = join(projectRoot, 'examples/functions');

/** How often an instance is killed under load. */
const KILL_MS = 2000;
const DROP_MS = 500;
const INSTANCES = 20;
const ASLEEP = 1000;
const ASLEEP_SECONDS = 10;

async function sourceOf(name: string, changes: Partial<FunctionSource['options']>): Promise<FunctionSource> {
  const found = (await discover([EXAMPLES])).find((source) => source.name === name);
  if (found === undefined) throw new Error(`no ${name} in ${EXAMPLES}`);
  return { ...found, options: { ...found.options, ...changes } };
}

/** VMMs of this process, started from snapshots; those of instances have more than started. */
const vmms = (): number[] =>
  readdirSync('/proc').flatMap((pid) => {
    try {
      const ours = /^\d+$/.test(pid) && Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) === process.pid;
      return ours && readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('qemu-system') ? [Number(pid)] : [];
    } catch {
      return [];
    }
  });

/** A process's own memory in MiB: what no other has. */
function ownMiB(pid: number): number {
  const lines = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').matchAll(/^Private_\w+:\s+(\d+) kB$/gm);
  return [...lines].reduce((sum, [, kib]) => sum + Number(kib), 0) / 1024;
}

const agent = new Agent({ keepAlive: true });
/** The status of the answer, or what kept it from coming whole. */
const ask = (url: string): Promise<number | string> =>
  new Promise((resolve) => {
    const asked = request(url, { agent }, (answer) => {
      answer.once('error', (error) => resolve(error.message));
      answer.resume().once('end', () => resolve(answer.statusCode ?? 0));
    });
    asked.once('error', (error) => resolve(error.message));
    asked.end();
  });

interface Loaded {
  readonly sent: number;
  readonly answered: number;
  readonly lost: readonly (number | string)[];
  readonly killed: number;
  readonly p50: number;
  readonly p99: number;
  readonly rate: number;
}

/** So many requests a second, whatever becomes of those before, while instances are killed at random. */
async function load(): Promise<Loaded> {
  const source = await sourceOf('native', { min: 4, max: 8, retries: 3, queue: 10_000, wait: 60_000, timeout: 60_000 });
  await using gateway = await serveFunctions([source], { log, warm: 2 });
  for (let [shown] = gateway.show(); (shown?.instances ?? 0) < 4 || shown?.standbys !== 2; [shown] = gateway.show()) await setTimeout(100);
  const url = `${gateway.url}/native`;
  const times: number[] = [];
  const lost: (number | string)[] = [];
  const all: Promise<void>[] = [];
  let killed = 0;
  const over = new AbortController();
  const killing = (async () => {
    while (!over.signal.aborted) {
      await setTimeout(KILL_MS, undefined, { signal: over.signal }).catch(() => {});
      const pids = vmms();
      const pid = pids[Math.floor(Math.random() * pids.length)];
      if (pid === undefined || over.signal.aborted) continue;
      process.kill(pid, 'SIGKILL');
      killed++;
    }
  })();
  const began = performance.now();
  for (let sent = 0; sent < SECONDS * RATE; sent++) {
    const due = began + (sent * 1000) / RATE;
    if (due > performance.now()) await setTimeout(due - performance.now());
    const asked = performance.now();
    all.push(
      ask(url).then((status) => {
        if (status === 200) times.push(performance.now() - asked);
        else lost.push(status);
      }),
    );
  }
  const seconds = (performance.now() - began) / 1000;
  over.abort();
  await Promise.all([...all, killing]);
  return { sent: all.length, answered: times.length, lost, killed, p50: quantile(times, 0.5), p99: quantile(times, 0.99), rate: all.length / seconds };
}

interface Remembered {
  readonly booted: number;
  readonly first: number;
  readonly waiting: number;
  readonly others: readonly number[];
  readonly answered: number;
  /** Of all of this host, that the twenty took. */
  readonly taken: number;
}

/** What this host could still give, in MiB. */
const available = (): number => Number(/^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) / 1024;

/** Memory of a guest that was booted, of the first instance of a snapshot while it is the only one, of one that waits beside it, and of twenty. */
async function memory(): Promise<Remembered> {
  const source = await sourceOf('hello', { timeout: 120_000, wait: 600_000, queue: 1000 });
  const memory = source.options.memory ?? '256M';
  let booted: number;
  {
    await using vm = await run(source.target, { accel: 'tcg', memory, ports: ['0:8080'], imagePorts: false, log });
    vm.stdout.resume();
    vm.stderr.resume();
    await vm.listening(8080);
    await ask(`http://127.0.0.1:${vm.port(8080)}/`);
    booted = ownMiB(vmms()[0] ?? 0);
  }
  const serve = (min: number, warm = 0): Promise<Gateway> =>
    serveFunctions([{ ...source, options: { ...source.options, min, max: INSTANCES, concurrency: 1 } }], { log, warm, max: INSTANCES });
  const up = async (gateway: Gateway, count: number): Promise<void> => {
    while ((gateway.show()[0]?.instances ?? 0) < count) await setTimeout(100);
  };
  let first: number;
  {
    await using gateway = await serve(1);
    await up(gateway, 1);
    await ask(`${gateway.url}/hello`);
    first = ownMiB(vmms()[0] ?? 0);
  }
  let waiting: number;
  {
    await using gateway = await serve(1, 1);
    await up(gateway, 1);
    const [instance] = vmms();
    while (gateway.show()[0]?.standbys !== 1) await setTimeout(100);
    waiting = ownMiB(vmms().find((pid) => pid !== instance) ?? 0);
  }
  const before = available();
  await using gateway = await serve(INSTANCES);
  await up(gateway, INSTANCES);
  // As many at once as there are instances: each has one.
  const statuses = await Promise.all(Array.from({ length: INSTANCES }, () => ask(`${gateway.url}/hello`)));
  return { booted, first, waiting, taken: before - available(), others: vmms().map(ownMiB), answered: statuses.filter((status) => status === 200).length };
}

/** What functions cost that nobody asks: memory in MiB, and processor time in ms of some seconds. */
async function asleep(): Promise<{ readonly mib: number; readonly cpuMs: number; readonly one: number; readonly many: number; readonly vmms: number }> {
  const source = await sourceOf('native', {});
  const directory = await mkdtemp(join(tmpdir(), 'ukl-asleep-'));
  try {
    // In a process of its own, whose memory is nothing but the gateway's.
    const script = join(directory, 'asleep.mts');
    await writeFile(
      script,
      `import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { serveFunctions } from ${JSON.stringify(join(projectRoot, 'src/sdk/index.ts'))};
const source = ${JSON.stringify(source)};
const rss = () => { globalThis.gc(); return Number(/^VmRSS:\\s*(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024; };
// What is done once in a process is not for the first to pay.
await (await serveFunctions([source], { lazy: true })).close();
const timed = async (sources) => {
  const began = performance.now();
  return [await serveFunctions(sources, { lazy: true }), performance.now() - began];
};
const [one, oneMs] = await timed([source]);
await setTimeout(1000);
const before = rss();
await one.close();
const [many, manyMs] = await timed(Array.from({ length: ${ASLEEP} }, (_, nth) => ({ ...source, name: 'f' + nth })));
await setTimeout(1000);
const after = rss();
const began = process.cpuUsage();
await setTimeout(${ASLEEP_SECONDS * 1000});
const { user, system } = process.cpuUsage(began);
console.log(JSON.stringify({ mib: after - before, cpuMs: (user + system) / 1000, one: oneMs, many: manyMs }));
await many.close();
`,
    );
    const said = execFileSync(process.execPath, ['--expose-gc', '--import', 'tsx', script], { cwd: projectRoot, encoding: 'utf8' });
    return { ...(JSON.parse(said) as { mib: number; cpuMs: number; one: number; many: number }), vmms: vmms().length };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** How long a client has a connection that sends a head or a body by drops; the server's answer. */
async function drops(): Promise<Readonly<Record<'head' | 'body', { readonly seconds: number; readonly answer: string }>>> {
  await using gateway = await startGateway([{ name: 'f', options: functionSchema.parse({}), backend: remoteBackend('http://127.0.0.1:1') }]);
  const port = Number(new URL(gateway.url).port);
  const one = async (start: string, drop: string): Promise<{ readonly seconds: number; readonly answer: string }> => {
    const began = performance.now();
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    socket.write(`POST /f HTTP/1.1\r\nHost: x\r\n${start}`);
    const dropping = setInterval(() => socket.write(drop), DROP_MS);
    const said = await text(socket).catch(String);
    clearInterval(dropping);
    return { seconds: (performance.now() - began) / 1000, answer: said.split('\r\n')[0] ?? '' };
  };
  const [head, body] = await Promise.all([one('', 'X-A: b\r\n'), one('Content-Length: 1000000\r\n\r\n', 'x')]);
  return { head, body };
}

const dropped = await log.step('clients that send by drops', drops);
const loaded = await log.step(`${RATE} requests a second for ${SECONDS} s`, load);
const remembered = await log.step(`${INSTANCES} instances`, memory);
const slept = await log.step(`${ASLEEP} functions that nobody asks`, asleep);
const mib = (value: number): string => `${value.toFixed(1)} MiB`;
const others = [...remembered.others].sort((a, b) => a - b);

const note = `# Functions

\`npx tsx test/functions/run.ts\`, the last time it was run: QEMU 7.2 in emulation, two processors, beside other work. [../functions.md](../functions.md) has what functions are.

| what | seen |
| --- | --- |
| requests of a C server, ${RATE} a second wanted, sent without waiting for those before | ${loaded.sent} in all, ${loaded.rate.toFixed(0)} a second |
| QEMUs killed meanwhile at random, instances or waiting ones | ${loaded.killed} |
| answered | ${loaded.answered}; lost: ${loaded.lost.length}${loaded.lost.length === 0 ? '' : ` (${loaded.lost.join(', ')})`} |
| half within, 99 % within | ${loaded.p50.toFixed(0)} ms, ${loaded.p99.toFixed(0)} ms |
| a client that sends its head by drops, and one its body | ${dropped.head.seconds.toFixed(0)} s, ${dropped.body.seconds.toFixed(0)} s: ${dropped.head.answer.slice(9)} |
| memory of QEMU's own (\`Private_*\` of smaps_rollup), TypeScript hello, after an answer: booted | ${mib(remembered.booted)} |
| the first instance from the snapshot, while it is the only one | ${mib(remembered.first)} |
| one that waits, beside it | ${mib(remembered.waiting)} |
| ${remembered.others.length} instances at once: median, most | ${mib(median(others))}, ${mib(others.at(-1) ?? Number.NaN)} |
| what all of them took of the host's available memory | ${mib(remembered.taken)} |
| of ${INSTANCES} requests at once, answered | ${remembered.answered} |
| ${ASLEEP} functions that nobody asks, beside one: memory of the gateway | ${mib(slept.mib)} |
| from the call to a gateway that listens: with one function, with ${ASLEEP} | ${slept.one.toFixed(0)} ms, ${slept.many.toFixed(0)} ms |
| their processor time in ${ASLEEP_SECONDS} s, and QEMUs | ${slept.cpuMs.toFixed(0)} ms, ${slept.vmms} |
`;
await writeFile(join(projectRoot, 'docs/notes/functions.md'), note);
process.stdout.write(note);
process.exitCode = loaded.lost.length === 0 && remembered.answered === INSTANCES ? 0 : 1;
