// SPDX-License-Identifier: MIT
class Broken extends Error {}

function deep(depth: number): never {
  if (depth > 0) deep(depth - 1);
  throw new Broken('as intended');
}

const how = process.argv[2];
if (how === 'exit') process.exit(7);
else if (how === 'reject') await Promise.reject(new Broken('as intended'));
else if (how === 'memory') for (const all: unknown[] = []; ; ) all.push(new Array<number>(1000).fill(all.length));
else deep(2);
