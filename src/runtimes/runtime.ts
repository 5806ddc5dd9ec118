// SPDX-License-Identifier: MIT
/** The seam between a program of some kind and the image that carries it. */

import type { Log } from '../lib/log.js';
import type { LibcKind } from '../libc/glibc.js';
import type { App, ImageManifest, Libc, Requirement } from '../model/index.js';
import type { ResolvedConfig, UklConfig } from '../options/config.js';

export type RuntimeName = ImageManifest['runtime'];

export interface RuntimeContext {
  readonly name: string;
  /** Relative paths of the configuration are meant from here. */
  readonly directory: string;
  readonly config: ResolvedConfig;
  /** For what is compiled on the way. */
  readonly outDir: string;
  /** Whether types are checked. */
  readonly check: boolean;
  /** What a container image's command is replaced by. */
  readonly words: readonly string[];
  /** What a container image's entry point is replaced by. */
  readonly entrypoint: string | undefined;
  /** The program is to run under a supervisor that takes new versions of it. */
  readonly dev: boolean;
  /** Our C library, if the target or the user wants it; the runtime says what it wants by default. */
  readonly libcOf: (byDefault: boolean, kind: LibcKind) => Promise<Libc | undefined>;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
}

export interface BuiltApp extends App {
  /** Whether the shared libraries of the host's C library give way to ours. */
  readonly takesLibc: boolean;
  /** What $BUILD stands for in the configuration's files. */
  readonly tree: string;
}

export interface Runtime {
  readonly name: RuntimeName;
  /** For help and documentation. */
  readonly title: string;
  /** Memory of a guest whose configuration does not say; undefined if that depends on its files. */
  readonly defaultMemory: string | undefined;
  /** Whether `ukl dev` can give a running guest new versions. */
  readonly dev: boolean;
  requirements(config: ResolvedConfig): readonly Requirement[];
  /** Whether a configuration is for this runtime. */
  takes(config: ResolvedConfig): boolean;
  /** Name and configuration of a file that it runs; undefined for any other. */
  fromFile(path: string): Promise<{ readonly name: string; readonly config: UklConfig } | undefined>;
  /** The configuration of a directory without a ukl.config; undefined if it is none of the runtime's. */
  fromDirectory(path: string): Promise<UklConfig | undefined>;
  build(context: RuntimeContext): Promise<BuiltApp>;
}
