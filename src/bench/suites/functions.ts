// SPDX-License-Identifier: MIT
/** From a request's arrival to its answer: a guest that is booted, one that goes on from a snapshot, one that waits, one that is there. */
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import type { Server } from '../../functions/backend.js';
import { startInstance } from '../../functions/local.js';
import { UklError } from '../../lib/errors.js';
import { projectRoot } from '../../lib/paths.js';
import type { UklConfig } from '../../options/config.js';
import { openSnapshot, saveSnapshot } from '../../run/snapshot.js';
import { WARM_PATH } from '../../runtimes/functions.js';
import { removeSnapshot } from '../../store/snapshots.js';
import { median, quantile } from '../stats.js';
import type { Built, Metric, Suite, Workload } from '../suite.js';
import { firstAnswer } from './boot.js';

interface Program {
  readonly title: string;
  readonly target: string | UklConfig;
  /** What is asked for. */
  readonly path: string;
  /** What one that is to wait is asked for. */
  readonly probe: string;
  /** It says itself when it is to be saved, and keeps connections. */
  readonly isFunction: boolean;
}

/** All of them listen there. */
const PORT = 8080;

const functionOf = (file: string, memory: string): UklConfig => ({
  name: 'function',
  ...(file.endsWith('.c') ? { sources: [join(projectRoot, file)] } : { entry: join(projectRoot, file) }),
  function: {},
  memory,
});

const PROGRAMS: Readonly<Record<string, Program>> = {
  c: { title: 'function in C', target: functionOf('examples/functions/greet.function.c', '96M'), path: '/', probe: WARM_PATH, isFunction: true },
  hello: { title: 'function in TypeScript', target: functionOf('examples/functions/hello.function.ts', '256M'), path: '/', probe: WARM_PATH, isFunction: true },
  api: {
    title: 'examples/api',
    target: { name: 'api', entry: join(projectRoot, 'examples/api/src/server.ts'), env: { DATABASE: '/tmp/notes.db' } },
    path: '/health',
    probe: '/health',
    isFunction: false,
  },
};

/** Of each kind, within a round. */
const STARTS = 20;
const WARM_REQUESTS = 1000;

/** How long an answer may take: a guest that hangs is an error of this suite's. */
const ANSWER_MS = 60_000;

/** The time that an answer took, in ms. Who asks waits for the connection: the guest may not run yet. */
function ask({ address }: Server, path: string, agent: Agent): Promise<number> {
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const asked = request({ ...address, path, agent, signal: AbortSignal.timeout(ANSWER_MS) }, (answer) => {
      answer.resume().once('end', () => resolve(performance.now() - began));
    });
    asked.once('error', (error) => reject(new UklError('UKL_VMM', `the guest did not answer: ${error.message}`)));
    asked.end();
  });
}

async function measure(what: string, { path, probe, isFunction }: Program, built: Built): Promise<Readonly<Record<string, number>>> {
  const name = `bench-${process.pid}-${what}-${built.variant.name}`;
  const common = { accel: 'tcg', signal: built.signal, imagePorts: false } as const;
  const boot = await firstAnswer(built, PORT, { imagePorts: false, path });
  await saveSnapshot(built.image, { ...common, name, ...(isFunction ? {} : { ready: PORT }) });
  try {
    const snapshot = await openSnapshot(name, common);
    if (snapshot.differs !== undefined) throw new UklError('UKL_BUG', `the snapshot differs in ${snapshot.differs} from itself`);
    const options = { port: PORT, probe, keepsConnections: isFunction, timeoutMs: ANSWER_MS, signal: built.signal, onLine: () => {} };
    const warm: number[] = [];
    /** The first answer of an instance that is started when it is wanted, or waits by then; what `then` does with it comes after. */
    const first = async (ahead: boolean, then?: (server: Server, agent: Agent) => Promise<void>): Promise<number> => {
      const agent = new Agent({ keepAlive: isFunction });
      const early = performance.now();
      const server = await startInstance(snapshot, options, ahead);
      try {
        const began = ahead ? performance.now() : early;
        if (ahead) await server.wake();
        await ask(server, path, agent);
        const took = performance.now() - began;
        await then?.(server, agent);
        return took;
      } finally {
        agent.destroy();
        server.kill();
        await server.over;
      }
    };
    const restores: number[] = [];
    const waits: number[] = [];
    for (let count = 0; count < STARTS; count++) {
      restores.push(await first(false));
      waits.push(await first(true));
    }
    await first(true, async (server, agent) => {
      while (warm.length < WARM_REQUESTS) warm.push(await ask(server, path, agent));
    });
    const of = (kind: string, times: readonly number[]): Record<string, number> => ({ [kind]: median(times), [`${kind}-p99`]: quantile(times, 0.99) });
    const numbers = { boot, ...of('restore', restores), ...of('pool', waits), ...of('warm', warm), ratio: boot / median(waits) };
    return Object.fromEntries(Object.entries(numbers).map(([kind, value]) => [`${what}-${kind}`, value]));
  } finally {
    await removeSnapshot(name);
  }
}

const metricsOf = (what: string, title: string): Metric[] => {
  const ms = (kind: string, words: string): Metric => ({ name: `${what}-${kind}`, title: `${title}: ${words}`, unit: 'ms', better: 'less', clock: 'wall' });
  return [
    ms('boot', 'first answer of a guest that is booted'),
    ms('restore', "from a snapshot, QEMU's start included"),
    ms('restore-p99', `the same, the slowest of ${STARTS}`),
    ms('pool', 'from an instance that waits'),
    ms('pool-p99', `the same, the slowest of ${STARTS}`),
    ms('warm', 'an instance that is there, half within'),
    ms('warm-p99', `the same, 99 % of ${WARM_REQUESTS} within`),
    { name: `${what}-ratio`, title: `${title}: boot to instance that waits, within a round`, unit: 'times', better: 'more', clock: 'wall' },
  ];
};

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
