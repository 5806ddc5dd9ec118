// SPDX-License-Identifier: MIT
import { join } from 'node:path';
import { projectRoot } from '../../lib/paths.js';
import type { Clock, Metric, Suite, Workload } from '../suite.js';
import { firstAnswer } from './boot.js';

const SERVERS = { http: 'node:http, hello', fastify: 'Fastify, JSON' } as const;

/** wrk's own words; under -icount a second is a billion instructions. */
function parseWrk(stdout: string, prefix: string): Record<string, number> {
  const number = (pattern: RegExp): number => Number(pattern.exec(stdout)?.[1] ?? NaN);
  const latency = (percent: number): number => {
    const [, value, unit] = new RegExp(`^ +${percent}% +([\\d.]+)(us|ms|s)$`, 'm').exec(stdout) ?? [];
    return Number(value ?? NaN) * ({ us: 1, ms: 1000, s: 1e6 }[unit ?? ''] ?? NaN);
  };
  return { [`${prefix}-requests`]: number(/^Requests\/sec: +([\d.]+)/m), [`${prefix}-p50`]: latency(50), [`${prefix}-p99`]: latency(99) };
}

const metrics = (clock: Clock): Metric[] =>
  Object.entries(SERVERS).flatMap(([what, title]): Metric[] => {
    const prefix = `${what}-${clock}`;
    const [per, time] = clock === 'instructions' ? ['requests per 10⁹ instructions', '10³ instructions'] : ['requests per second', 'µs'];
    return [
      { name: `${prefix}-requests`, title, unit: per, better: 'more', clock },
      { name: `${prefix}-p50`, title: `${title}, half within`, unit: time, better: 'less', clock },
      { name: `${prefix}-p99`, title: `${title}, 99 % within`, unit: time, better: 'less', clock },
    ];
  });

const workloads = (clock: Clock): Workload[] =>
  Object.keys(SERVERS).map((what) => ({
    clock,
    target: join(projectRoot, 'examples/typescript/bench.ts'),
    args: [what, '1', '1'],
    files: ['/usr/bin/wrk'],
    parse: (stdout) => parseWrk(stdout, `${what}-${clock}`),
  }));

const first: Workload = {
  clock: 'wall',
  target: join(projectRoot, 'examples/typescript/http.ts'),
  parse: () => ({}),
  measure: async (built) => ({ 'first-answer': await firstAnswer(built, 8080) }),
};

/** The official Node.js under wrk, which runs in ring 3 of the same guest. */
export const node: Suite = {
  name: 'node',
  title: 'Node.js',
  packages: [{ package: 'wrk', why: 'load for Node.js', file: '/usr/bin/wrk' }],
  metrics: [
    { name: 'first-answer', title: "node:http, from the VMM's start to the first answer", unit: 'ms', better: 'less', clock: 'wall' },
    ...metrics('instructions'),
    ...metrics('wall'),
  ],
  workloads: [first, ...workloads('instructions'), ...workloads('wall')],
};
