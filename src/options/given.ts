// SPDX-License-Identifier: MIT
/** The options of the SDK's functions: those of the table, and what only a program can hand over. */
import type { Readable, Writable } from 'node:stream';
import type { Terminal } from '../guest/spec.js';
import type { Log } from '../lib/log.js';
import type { ArcCounts, Machine } from '../model/index.js';
import type { Given } from './options.js';

export interface Context {
  /** Takes messages about progress; they go nowhere by default. */
  readonly log?: Log | undefined;
  /** Ends the work, with all processes that it started. */
  readonly signal?: AbortSignal | undefined;
}

export interface BuildOptions extends Context, Given<'build'> {
  /** Words in place of a container image's CMD. */
  readonly words?: readonly string[] | undefined;
  /** A TypeScript program runs under a supervisor that takes new versions of it; see `dev()`. */
  readonly dev?: boolean | undefined;
  /** The kernel counts the arcs of its functions (gcov); see `optimize()`. */
  readonly counting?: boolean | undefined;
  /** What the kernel and its modules are optimised for; see `optimize()`. */
  readonly counts?: ArcCounts | undefined;
  /** Path of the image; `.ukl/NAME.image` in the project by default. */
  readonly out?: string | undefined;
}

/** What takes the place of an image's defaults for one run. */
export interface RunOptions extends Context, Given<'run'> {
  /** Do not refuse a memory that the image's files cannot fit into. */
  readonly anyMemory?: boolean | undefined;
  /** False: ports of this host lead to the guest as the options say, and not as the image does. */
  readonly imagePorts?: boolean | undefined;
  /** A program that says it is ready waits to be saved (docs/snapshots.md). */
  readonly holdsReady?: boolean | undefined;
  /** Streams in place of those of the `RunningVm`. */
  readonly stdin?: Readable | undefined;
  readonly stdout?: Writable | undefined;
  readonly stderr?: Writable | undefined;
  /** The program gets a terminal, which is then all of its streams; it needs an init. */
  readonly terminal?: Terminal | undefined;
  /** A plugin of QEMU's, and its arguments (emulation only). */
  readonly plugin?: Machine['plugin'];
}
