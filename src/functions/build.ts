// SPDX-License-Identifier: MIT
/** A function's image, and its guest saved as it waits for the first request. */
import { hashValue } from '../lib/hash.js';
import type { Context } from '../options/given.js';
import type { Snapshot } from '../run/saved.js';
import { saveSnapshot } from '../run/snapshot.js';
import type { FunctionSource } from './discover.js';

/** Two functions of one name in two places are two. */
export const snapshotNameOf = ({ name, target }: FunctionSource): string => `function-${name}-${hashValue(target).slice(0, 8)}`;

/**
 * Builds a function and saves its guest; what was built before from the same is found again.
 *
 * @throws what `saveSnapshot` throws
 */
export async function buildFunction(source: FunctionSource, context: Context = {}): Promise<Snapshot> {
  const { target, options, port, saysReady } = source;
  return saveSnapshot(target, { ...context, name: snapshotNameOf(source), memory: options.memory, imagePorts: false, ...(saysReady ? {} : { ready: port }) });
}
