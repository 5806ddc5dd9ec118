// SPDX-License-Identifier: MIT
/** From a request's arrival to its answer: a guest that is booted, one that goes on from a snapshot, one that is there. */
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { UklError } from '../../lib/errors.js';
import { projectRoot } from '../../lib/paths.js';
import type { UklConfig } from '../../options/config.js';
import type { RunningVm } from '../../run/launch.js';
import { openSnapshot, saveSnapshot } from '../../run/snapshot.js';
import { removeSnapshot } from '../../store/snapshots.js';
import { median } from '../stats.js';
import type { Built, Metric, Suite, Workload } from '../suite.js';
import { firstAnswer } from './boot.js';

interface Program {
  readonly title: string;
  readonly target: string | UklConfig;
  readonly port: number;
  /** What is asked for. */
  readonly path: string;
  /** It says itself when it is to be saved. */
  readonly saysReady?: boolean;
}

const PROGRAMS: Readonly<Record<string, Program>> = {
  c: { title: 'HTTP server in C', target: join(projectRoot, 'examples/http'), port: 80, path: '/' },
  hello: {
    title: 'function in TypeScript',
    target: { name: 'hello', entry: join(projectRoot, 'examples/functions/hello.function.ts'), function: {}, memory: '192M' },
    port: 8080,
    path: '/',
    saysReady: true,
  },
  api: {
    title: 'examples/api',
    target: { name: 'api', entry: join(projectRoot, 'examples/api/src/server.ts'), env: { DATABASE: '/tmp/notes.db' } },
    port: 8080,
    path: '/health',
  },
};

/** Of an instance that is there already; the median counts. */
const WARM_REQUESTS = 50;

/** The time that an answer took, in ms. Who asks waits for the connection: the guest may not run yet. */
function ask(vm: RunningVm, { port, path }: Program, agent: Agent): Promise<number> {
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port: vm.port(port), path, agent }, (answer) => {
      answer.resume().once('end', () => resolve(performance.now() - began));
    });
    asked.once('error', (error) => reject(new UklError('UKL_VMM', `the guest did not answer: ${error.message}`)));
    asked.end();
  });
}

async function measure(what: string, program: Program, built: Built): Promise<Readonly<Record<string, number>>> {
  const { port, path, saysReady } = program;
  const name = `bench-${process.pid}-${what}-${built.variant.name}`;
  const common = { accel: 'tcg', signal: built.signal, imagePorts: false } as const;
  const numbers: Record<string, number> = { [`${what}-boot`]: await firstAnswer(built, port, { imagePorts: false, path }) };
  await saveSnapshot(built.image, { ...common, name, ...(saysReady ? {} : { ready: port }) });
  try {
    const snapshot = await openSnapshot(name, common);
    const agent = new Agent({ keepAlive: true });
    const one = async (waits: boolean): Promise<number> => {
      const began = performance.now();
      await using standby = await snapshot.standby({ ports: [`0:${port}`] });
      standby.vm.stdout.resume();
      standby.vm.stderr.resume();
      if (waits) await standby.loaded;
      const wanted = waits ? performance.now() : began;
      standby.go();
      await standby.vm.started;
      await ask(standby.vm, program, agent);
      const took = performance.now() - wanted;
      if (waits) {
        const times: number[] = [];
        for (let count = 0; count < WARM_REQUESTS; count++) times.push(await ask(standby.vm, program, agent));
        numbers[`${what}-warm`] = median(times);
      }
      return took;
    };
    numbers[`${what}-restore`] = await one(false);
    numbers[`${what}-pool`] = await one(true);
    numbers[`${what}-ratio`] = (numbers[`${what}-boot`] ?? Number.NaN) / (numbers[`${what}-pool`] ?? Number.NaN);
    agent.destroy();
    return numbers;
  } finally {
    await removeSnapshot(name);
  }
}

const metricsOf = (what: string, title: string): Metric[] => [
  { name: `${what}-boot`, title: `${title}: first answer of a guest that is booted`, unit: 'ms', better: 'less', clock: 'wall' },
  { name: `${what}-restore`, title: `${title}: from a snapshot, QEMU's start included`, unit: 'ms', better: 'less', clock: 'wall' },
  { name: `${what}-pool`, title: `${title}: from a snapshot, by a QEMU that waits`, unit: 'ms', better: 'less', clock: 'wall' },
  { name: `${what}-warm`, title: `${title}: an instance that is there, half within`, unit: 'ms', better: 'less', clock: 'wall' },
  { name: `${what}-ratio`, title: `${title}: boot to QEMU that waits, within a round`, unit: 'times', better: 'more', clock: 'wall' },
];

export const functions: Suite = {
  name: 'functions',
  title: 'Snapshots and functions',
  packages: [],
  metrics: Object.entries(PROGRAMS).flatMap(([what, { title }]) => metricsOf(what, title)),
  workloads: Object.entries(PROGRAMS).map(
    ([what, program]): Workload => ({
      clock: 'wall',
      target: program.target,
      container: 'elf',
      variants: ['ring3', 'ring0'],
      parse: () => ({}),
      measure: (built) => measure(what, program, built),
    }),
  ),
};
