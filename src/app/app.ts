// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Log } from '../lib/log.js';
import type { LibcKind } from '../libc/glibc.js';
import type { App, GuestFile, Libc } from '../model/index.js';
import { packFile } from '../packing/files.js';
import type { Target } from './target.js';

/** Our C library in the place of the host's, file by file: they are the same version. */
function withLibc(file: GuestFile, libc: Libc): GuestFile {
  if (file.kind !== 'file' || !/^(\/usr)?\/lib(64|\/x86_64-linux-gnu)\//.test(file.guest)) return file;
  const ours = join(libc.lib, basename(file.guest));
  return existsSync(ours) ? { ...file, host: ours } : file;
}

export interface AppOptions {
  /** Where a compiled program is put. */
  readonly outDir: string;
  /** Further "host[:guest]" words, relative to the working directory. */
  readonly extraFiles: readonly string[];
  /** Which C library, if the configuration is not to decide. */
  readonly libc?: 'ukl' | 'host' | undefined;
  /** Whether types are checked, if the configuration is not to decide. */
  readonly check?: boolean | undefined;
  /** Words in place of a container image's CMD, and a program in place of its ENTRYPOINT. */
  readonly words?: readonly string[] | undefined;
  readonly entrypoint?: string | undefined;
  /** The program runs under a supervisor that takes new versions of it. */
  readonly dev: boolean;
  /** Makes our C library; only called if it is wanted. */
  readonly getLibc: (kind: LibcKind) => Promise<Libc>;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
}

/** Makes the program by its runtime, and collects the files that go with it. */
export async function makeApp(target: Target, options: AppOptions): Promise<App> {
  const { config, runtime } = target;
  const { log, signal, outDir } = options;
  const choice = options.libc ?? config.libc;
  const libcOf = async (byDefault: boolean, kind: LibcKind): Promise<Libc | undefined> =>
    (choice === undefined ? byDefault : choice === 'ukl') ? options.getLibc(kind) : undefined;
  const { takesLibc, tree, ...app } = await runtime.build({
    name: target.name,
    directory: target.directory,
    config,
    outDir,
    check: options.check ?? config.check,
    words: options.words ?? config.args,
    entrypoint: options.entrypoint ?? config.entrypoint,
    dev: options.dev,
    libcOf,
    log,
    signal,
  });
  const files = [...app.files];
  for (const spec of config.files) files.push(...(await packFile(spec.replace(/^\$BUILD(?=\/|:)/, tree), target.directory)));
  for (const spec of options.extraFiles) files.push(...(await packFile(spec, process.cwd())));
  // A static program has its own; `--libc ukl` on one that is not marked is honoured if it is dynamic.
  const libc = takesLibc || choice === 'ukl' ? await libcOf(takesLibc, 'complete') : undefined;
  return { ...app, files: libc === undefined ? files : files.map((file) => withLibc(file, libc)) };
}
