// SPDX-License-Identifier: MIT
import { createInterface } from 'node:readline';

let sum = 0;
for await (const line of createInterface({ input: process.stdin })) sum += Number(line);
console.log(sum);
