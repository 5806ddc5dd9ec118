// SPDX-License-Identifier: MIT
/** From nothing to the program. */
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { getCounter } from '../../guest/programs.js';
import { UklError } from '../../lib/errors.js';
import { silentLog } from '../../lib/log.js';
import { projectRoot } from '../../lib/paths.js';
import { makeScratch } from '../../lib/scratch.js';
import type { RunOptions } from '../../options/given.js';
import { profile } from '../../profile/profile.js';
import { Counter, since } from '../counter.js';
import { asPid1, outputOf, printed, start } from '../pid1.js';
import { type Built, isPid1, type Suite, USUAL } from '../suite.js';

const GUEST_SECONDS = 60;

/** Milliseconds from the VMM's start to the program's first word on this host. */
async function firstOutput(built: Built): Promise<number> {
  await using vm = await start(built, { timeout: GUEST_SECONDS });
  const began = performance.now();
  const output = outputOf(built, vm);
  if (output !== vm.stderr) vm.stderr.resume();
  let said = '';
  for await (const chunk of output) {
    said += String(chunk);
    if (said.includes('Hello from ring')) return performance.now() - began;
  }
  throw new UklError('UKL_VMM', `the guest ended with ${JSON.stringify((await vm.result).end)} before it said hello`);
}

/** How often a server that may not be up yet is asked anew: who asks too early waits for a TCP retransmission. */
const RETRY_MS = 20;

/** Milliseconds from the VMM's start to the first answer that the host gets. */
export async function firstAnswer(built: Built, port: number, { path = '/', ...options }: RunOptions & { readonly path?: string } = {}): Promise<number> {
  await using vm = await start(built, { ports: [`0:${port}`], timeout: GUEST_SECONDS, ...options });
  const began = performance.now();
  vm.stdout.resume();
  vm.stderr.resume();
  const over = new AbortController();
  const stop = (): void => over.abort();
  vm.result.then(stop, stop);
  let took: number | undefined;
  const ask = async (): Promise<void> => {
    const answer = await fetch(`http://127.0.0.1:${vm.port(port)}${path}`, { signal: over.signal }).catch(() => undefined);
    if (answer?.ok !== true || over.signal.aborted) return;
    took = performance.now() - began;
    over.abort();
  };
  while (!over.signal.aborted) {
    void ask();
    await setTimeout(RETRY_MS);
  }
  if (took === undefined) throw new UklError('UKL_VMM', `the guest ended with ${JSON.stringify((await vm.result).end)} before it answered`);
  return took;
}

/** A server that has just answered has timers of TCP, and its guest caches to fill. */
const SETTLE_MS = 10_000;
const IDLE_MS = 20_000;

/** Instructions a second of a server that nobody asks anything. */
async function idle(built: Built, port: number): Promise<number> {
  await using scratch = await makeScratch('idle');
  const socket = join(scratch.path, 'socket');
  using counter = await Counter.listen(socket);
  const file = await getCounter({ log: silentLog, signal: built.signal });
  await using vm = await start(built, { ports: [`0:${port}`], plugin: { file, args: { socket, at: '' } } });
  vm.stdout.resume();
  vm.stderr.resume();
  const ask = (): Promise<boolean> =>
    fetch(`http://127.0.0.1:${vm.port(port)}/`, { signal: AbortSignal.timeout(RETRY_MS * 50) }).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await ask())) {
    if (vm.state === 'ended') throw new UklError('UKL_VMM', 'the guest ended before it answered');
    await setTimeout(RETRY_MS);
  }
  await setTimeout(SETTLE_MS, undefined, { signal: built.signal });
  const before = await counter.read();
  const began = performance.now();
  await setTimeout(IDLE_MS, undefined, { signal: built.signal });
  const { instructions = NaN } = since(before, await counter.read());
  return (instructions * 1000) / (performance.now() - began);
}

/** Millions of nanoseconds to main() by the counted clock. */
const toMain = async (built: Built): Promise<number> =>
  Number(/to main\(\): ([\d.]+) million/.exec(await printed(built, { icount: true, timeout: GUEST_SECONDS }))?.[1] ?? NaN);

export const boot: Suite = {
  name: 'boot',
  title: 'Start',
  packages: [],
  metrics: [
    { name: 'main', title: 'start of the machine to main()', unit: '10⁶ of the counted clock, waits included', better: 'less', clock: 'instructions' },
    {
      name: 'small-main',
      title: 'the same, a kernel of the profile hello',
      unit: '10⁶ of the counted clock, waits included',
      better: 'less',
      clock: 'instructions',
    },
    { name: 'whole', title: 'hello, from the start of the machine to its end', unit: '10⁶ instructions', better: 'less', clock: 'instructions' },
    { name: 'wall', title: "hello, from the VMM's start to its end", unit: 'ms', better: 'less', clock: 'wall' },
    { name: 'output', title: "the VMM's start to the first line of hello", unit: 'ms', better: 'less', clock: 'wall' },
    { name: 'idle', title: 'a small HTTP server that is idle', unit: 'instructions a second', better: 'less', clock: 'wall' },
    { name: 'answer', title: "the VMM's start to the first answer of nginx", unit: 'ms', better: 'less', clock: 'wall' },
  ],
  workloads: [
    {
      clock: 'instructions',
      target: join(projectRoot, 'examples/count'),
      variants: ['pid1', ...USUAL],
      parse: () => ({}),
      measure: async (built) => ({ main: await toMain(built) }),
    },
    {
      clock: 'instructions',
      target: { name: 'count', sources: [join(projectRoot, 'examples/count/count.c')], profile: 'hello' },
      container: 'elf',
      variants: ['pid1', 'pid1-server', 'linked'],
      parse: () => ({}),
      measure: async (built) => ({ 'small-main': await toMain(built) }),
    },
    {
      clock: 'instructions',
      target: join(projectRoot, 'examples/hello'),
      container: 'elf',
      variants: ['pid1', 'pid1-server', 'linked'],
      parse: () => ({}),
      measure: async (built) => {
        const { total } = await profile(built.image, { accel: 'tcg', kernelArgs: isPid1(built.variant) ? asPid1(built) : [], timeout: GUEST_SECONDS });
        const vm = await start(built, { timeout: GUEST_SECONDS });
        vm.stdout.resume();
        vm.stderr.resume();
        return { whole: total / 1e6, wall: (await vm.result).timings.totalMs };
      },
    },
    {
      clock: 'wall',
      target: join(projectRoot, 'examples/hello'),
      container: 'elf',
      // The stock kernel of the profile hello has nothing for an init.
      variants: ['pid1', 'pid1-server', 'ring3', 'ring0', 'linked'],
      parse: () => ({}),
      measure: async (built) => ({ output: await firstOutput(built) }),
    },
    {
      clock: 'wall',
      target: join(projectRoot, 'examples/http'),
      container: 'elf',
      variants: ['stock', 'linked', 'express', 'fit'],
      parse: () => ({}),
      measure: async (built) => ({ idle: await idle(built, 80) }),
    },
    {
      clock: 'wall',
      target: join(projectRoot, 'examples/nginx'),
      parse: () => ({}),
      measure: async (built) => ({ answer: await firstAnswer(built, 80) }),
    },
  ],
};
