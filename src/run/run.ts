// SPDX-License-Identifier: MIT
/** A guest that runs: of a target, or of what was saved. */
import type { UklConfig } from '../options/config.js';
import type { BuildOptions, RunOptions } from '../options/given.js';
import { type RunningVm, runTarget } from './launch.js';
import { restore } from './snapshot.js';

/** What a guest that goes on from a saved one may have of its own; the machine is the saved one's. */
export interface RestoreOptions extends RunOptions {
  /** A snapshot's name. */
  readonly fromSnapshot: string;
}

/** Whether it is a snapshot that is to go on, and not a target. */
export const isRestore = (what: string | UklConfig | RestoreOptions): what is RestoreOptions => typeof what !== 'string' && 'fromSnapshot' in what;

/**
 * Starts a target (or an image), or goes on from a saved guest, and returns as soon as the VMM is running.
 *
 *     await using vm = await run('server.ts', { ports: ['0:8080'] });
 *     const answer = await fetch(`http://127.0.0.1:${vm.port(8080)}/`);
 *     await vm.save('web');
 *     await using clone = await run({ fromSnapshot: 'web', ports: ['0:8080'] });
 *
 * @throws UklError before the guest has run; afterwards `result` tells
 */
export function run(saved: RestoreOptions): Promise<RunningVm>;
export function run(target: string | UklConfig, options?: RunOptions & BuildOptions): Promise<RunningVm>;
export async function run(what: string | UklConfig | RestoreOptions, options: RunOptions & BuildOptions = {}): Promise<RunningVm> {
  if (!isRestore(what)) return runTarget(what, options);
  const { fromSnapshot, ...own } = what;
  return restore(fromSnapshot, own);
}
