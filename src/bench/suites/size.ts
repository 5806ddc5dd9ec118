// SPDX-License-Identifier: MIT
/** Images, and the least memory that a program runs in, found by halving. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { runs } from '../pid1.js';
import { projectRoot } from '../../lib/paths.js';
import { type Built, type Metric, type Suite, USUAL, type Workload } from '../suite.js';

const MIB = 2 ** 20;
/** Of the search, in MiB. */
const STEP = 2;
const MOST = 1024;
/** A guest that swaps its own pages to and fro is not running. */
const GUEST_SECONDS = 60;

const PROGRAMS: Readonly<Record<string, { readonly title: string; readonly target: Workload['target'] }>> = {
  hello: { title: 'hello', target: join(projectRoot, 'examples/hello') },
  redis: { title: 'redis-server', target: { name: 'redis', program: '/usr/bin/redis-server', args: ['--version'] } },
  memcached: { title: 'memcached', target: { name: 'memcached', program: '/usr/bin/memcached', args: ['--version'] } },
  nginx: { title: 'nginx', target: { name: 'nginx', program: '/usr/sbin/nginx', args: ['-v'] } },
  node: { title: 'Node.js, hello', target: { name: 'node', entry: join(projectRoot, 'runtime/bench/hello.ts'), check: false } },
};

async function leastMemory(built: Built): Promise<number> {
  let low = 0;
  let high = MOST;
  while (high - low > STEP) {
    const middle = Math.round((low + high) / 2 / STEP) * STEP;
    if (await runs(built, { memory: `${middle}M`, anyMemory: true, timeoutSeconds: GUEST_SECONDS })) high = middle;
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
    { package: 'nginx-light', why: 'a server to measure', file: '/usr/sbin/nginx' },
  ],
  metrics: Object.entries(PROGRAMS).flatMap(([name, { title }]): Metric[] => [
    { name: `${name}-image`, title: `${title}, image`, unit: 'MiB', better: 'less', clock: 'instructions' },
    { name: `${name}-memory`, title: `${title}, least memory`, unit: 'MiB', better: 'less', clock: 'instructions' },
  ]),
  workloads: Object.entries(PROGRAMS).map(([name, { target }]) => ({
    clock: 'instructions',
    target,
    parse: () => ({}),
    variants: ['pid1', ...USUAL],
    measure: async (built) => ({ [`${name}-image`]: (await stat(built.image)).size / MIB, [`${name}-memory`]: await leastMemory(built) }),
  })),
};
