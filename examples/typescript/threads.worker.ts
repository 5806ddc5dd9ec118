// SPDX-License-Identifier: MIT
import { workerData } from 'node:worker_threads';

const { shared, times } = workerData as { shared: Int32Array; times: number };
for (let i = 0; i < times; i++) Atomics.add(shared, 0, 1);
