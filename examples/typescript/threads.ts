// SPDX-License-Identifier: MIT
/** Four threads increment one number in shared memory. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

const THREADS = 4;
const TIMES = 100_000;

const shared = new Int32Array(new SharedArrayBuffer(4));
const workers = Array.from({ length: THREADS }, () => new Worker(new URL('./threads.worker.ts', import.meta.url), { workerData: { shared, times: TIMES } }));
await Promise.all(workers.map((worker) => once(worker, 'exit')));
console.log(`${shared[0]} of ${THREADS * TIMES}`);
