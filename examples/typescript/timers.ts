// SPDX-License-Identifier: MIT
import { performance } from 'node:perf_hooks';
import { setInterval, setTimeout } from 'node:timers/promises';

const start = performance.now();
await setTimeout(50);
const order: string[] = ['timeout'];
for await (const _ of setInterval(10)) {
  order.push('interval');
  if (order.length > 3) break;
}
await new Promise<void>((resolve) => {
  setImmediate(() => order.push('immediate'));
  process.nextTick(() => order.push('tick'));
  queueMicrotask(() => order.push('microtask'));
  globalThis.setTimeout(resolve, 20);
});
const late = performance.now() - start;
console.log(order.join(' '), late >= 100 ? 'in time' : `after ${late} ms`);
