// SPDX-License-Identifier: MIT
/**
 * Random numbers that no two clones of a snapshot share. It comes before the
 * function's own modules, which then have this Math.random.
 */
import crypto, { type RandomUUIDOptions, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';

const ADDON = '/.ukl/reseed.node';
const reseed = existsSync(ADDON) ? (createRequire(import.meta.url)(ADDON) as () => void) : () => {};

/** sfc32 (Chris Doty-Humphrey, PractRand): V8's own generator cannot be given another seed. */
const state = new Int32Array(4);
function next(): number {
  const [a = 0, b = 0, c = 0, count = 0] = state;
  const result = (a + b + count) | 0;
  state[0] = b ^ (b >>> 9);
  state[1] = (c + (c << 3)) | 0;
  state[2] = (((c << 21) | (c >>> 11)) + result) | 0;
  state[3] = (count + 1) | 0;
  return result >>> 0;
}

const seed = (): void => new Uint8Array(state.buffer).set(randomBytes(16));

/** 53 bits, as a double has them. */
Math.random = () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
seed();

/** Whether this is a clone already, or nothing that will be one. */
let own = false;

/**
 * Node.js draws UUIDs and whole numbers ahead (lib/internal/crypto/random.js):
 * until the guest is saved they are drawn one by one, and nothing is kept.
 */
const { randomUUID, randomInt } = crypto;
crypto.randomUUID = (options?: RandomUUIDOptions) => randomUUID(own ? options : { ...options, disableEntropyCache: true });
Crypto.prototype.randomUUID = () => crypto.randomUUID();

const KEPT_BYTES = 6;
function drawInt(low: number, high: number): number {
  const range = high - low;
  const limit = 2 ** 48 - (2 ** 48 % range);
  for (;;) {
    const drawn = randomBytes(KEPT_BYTES).readUIntBE(0, KEPT_BYTES);
    if (drawn < limit) return (drawn % range) + low;
  }
}
// The range is checked by the one that it stands for, which draws nothing for a range of one.
crypto.randomInt = ((...args: Parameters<typeof randomInt>) => {
  const [low, high] = (typeof args[1] === 'number' ? args : [0, args[0]]) as [number, number];
  if (
    own ||
    args.some((arg) => typeof arg === 'function') ||
    !(Number.isSafeInteger(low) && Number.isSafeInteger(high) && high > low && high - low < 2 ** 48)
  ) {
    return randomInt(...args);
  }
  return drawInt(low, high);
}) as typeof randomInt;
syncBuiltinESMExports();

/** After a snapshot, before anything else runs. */
export function refresh(): void {
  reseed();
  seed();
  own = true;
}
