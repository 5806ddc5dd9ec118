// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { mkdir, realpath, rename, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { findConfig, loadConfig, parseConfig } from '../config/load.js';
import { configSchema, type ResolvedConfig, type UklConfig } from '../config/schema.js';
import { isElf, readElf } from '../elf/elf.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import type { Log } from '../lib/log.js';
import { projectRoot } from '../lib/paths.js';
import type { App, GuestFile, Libc, NodeRuntime } from '../model/index.js';
import { make } from '../runtimes/native/make.js';
import { findEntry, isScript, makeNodeApp, scriptName } from '../runtimes/node/node.js';
import { packFile, packLibraries } from './files.js';

/** What the user handed in, with the configuration that goes with it. */
export interface Target {
  readonly name: string;
  /** Relative paths of the configuration are meant from here. */
  readonly directory: string;
  readonly config: ResolvedConfig;
}

/**
 * Tells what a TARGET is: a C, TypeScript or JavaScript file, an ELF program,
 * or a directory with a ukl.config or a package.json. Throws UKL_NO_TARGET,
 * UKL_NOT_ELF, UKL_CONFIG.
 */
export async function resolveTarget(target: string | UklConfig): Promise<Target> {
  if (typeof target !== 'string') {
    const config = parseConfig(target, 'the configuration');
    return { name: config.name ?? 'app', directory: process.cwd(), config };
  }
  const path = resolve(target);
  const info = await stat(path).catch(() => undefined);
  if (!info) {
    throw new UklError('UKL_NO_TARGET', `${target} does not exist`, {
      hint: 'name a C, TypeScript or JavaScript file, an ELF program, or a directory with a ukl.config.ts or a package.json',
      exitCode: 125,
    });
  }
  const withDefaults = (value: object): ResolvedConfig => configSchema.parse(value);
  if (info.isDirectory()) {
    if (findConfig(path) === undefined && existsSync(join(path, 'package.json'))) {
      return { name: basename(path), directory: path, config: withDefaults({ entry: await findEntry(path) }) };
    }
    const config = await loadConfig(path);
    return { name: config.name, directory: path, config };
  }
  if (isScript(path)) return { name: scriptName(path), directory: process.cwd(), config: withDefaults({ entry: path }) };
  const name = basename(path).replace(/\.c$/, '');
  if (path.endsWith('.c')) {
    return { name, directory: process.cwd(), config: withDefaults({ sources: [path] }) };
  }
  if (findConfig(path) === undefined && !(await isElf(path))) {
    throw new UklError('UKL_NOT_ELF', `${target} is neither a C, TypeScript or JavaScript file, an ELF program nor a project directory`, {
      hint: 'a script is run by its interpreter: ukl run /bin/bash --file SCRIPT -- SCRIPT',
      exitCode: 125,
    });
  }
  return { name, directory: process.cwd(), config: withDefaults({ program: path }) };
}

/** Compiles C sources into one static program. Throws UKL_COMPILE with gcc's own words. */
async function compile(target: Target, libc: Libc | undefined, outDir: string, log: Log, signal: AbortSignal | undefined): Promise<string> {
  const { sources = [], cflags, libs } = target.config;
  const files = sources.map((source) => resolve(target.directory, source));
  for (const file of files) {
    if (!existsSync(file)) throw new UklError('UKL_NO_FILE', `${file} does not exist`);
  }
  await mkdir(outDir, { recursive: true });
  const output = join(outDir, target.name);
  const partial = `${output}.${process.pid}`;
  await log.step(`compile ${target.name}`, async () => {
    // -pthread costs nothing in glibc 2.36 and spares a surprise.
    const [compiler, options] = libc === undefined ? ['gcc', ['-isystem', join(projectRoot, 'include')]] : [join(libc.bin, 'ukl-gcc'), []];
    await exec(compiler, [...options, '-O2', '-g', '-static', '-pthread', ...cflags, '-o', partial, ...files, ...libs], {
      cwd: target.directory,
      signal,
      errorCode: 'UKL_COMPILE',
    }).catch((error: unknown) => {
      if (!(error instanceof UklError)) throw error;
      throw new UklError('UKL_COMPILE', `could not compile ${files.map((file) => basename(file)).join(' ')}`, {
        ...(error.details === undefined ? {} : { details: error.details }),
        cause: error,
      });
    });
  });
  await rename(partial, output);
  return output;
}

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
  readonly check?: boolean;
  /** A TypeScript program runs under a supervisor that takes new versions of it. */
  readonly dev?: boolean;
  /** Makes our C library; only called if it is wanted, as the others here. */
  readonly getLibc: () => Promise<Libc>;
  /** Fetches a Debian source package. */
  readonly getSource: (name: string) => Promise<{ readonly path: string; readonly version: string }>;
  /** Fetches a version of Node.js. */
  readonly getNode: (version: string) => Promise<NodeRuntime>;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
}

/** An ELF program, compiled if need be, with its libraries. */
async function makeElfApp(
  target: Target,
  options: AppOptions,
  libcOf: (byDefault: boolean) => Promise<Libc | undefined>,
): Promise<App & { readonly marked: boolean; readonly tree: string }> {
  const { config } = target;
  const made = config.build !== undefined || config.program === undefined;
  const tree =
    config.build === undefined
      ? target.directory
      : await make({ ...options, directory: target.directory, name: target.name, config, libc: await libcOf(true) });
  const named = config.program === undefined ? undefined : resolve(tree, config.program);
  const host =
    named === undefined
      ? await compile(target, await libcOf(true), options.outDir, options.log, options.signal)
      : await realpath(named).catch(() => {
          throw new UklError('UKL_NO_FILE', `the program ${config.program} does not exist`);
        });
  const elf = await readElf(host);
  if (elf.type === 'other') {
    throw new UklError('UKL_NOT_ELF', `${host} is an object file, not a program`, { hint: 'link it first' });
  }
  const guest = made ? `/app/${basename(host)}` : host;
  const mode = made ? 0o755 : (await stat(host)).mode & 0o7777;
  const calledAs = made ? guest : (named ?? guest);
  return {
    name: target.name,
    host,
    guest,
    command: [calledAs],
    files: [
      { guest, kind: 'file', host, mode: mode | 0o111 },
      ...(await packLibraries(host)),
      ...(calledAs === guest ? [] : [{ guest: calledAs, kind: 'symlink', target: guest } as const]),
    ],
    marked: elf.dynamic && (made || elf.marked),
    tree,
  };
}

/**
 * Makes the program: compiles it if need be, finds its libraries, collects the
 * files that go with it.
 */
export async function makeApp(target: Target, options: AppOptions): Promise<App> {
  const { config } = target;
  const choice = options.libc ?? config.libc;
  const libcOf = async (byDefault: boolean): Promise<Libc | undefined> =>
    (choice === undefined ? byDefault : choice === 'ukl') ? options.getLibc() : undefined;
  const { marked, tree, ...app } =
    config.entry === undefined
      ? await makeElfApp(target, options, libcOf)
      : {
          ...(await makeNodeApp({
            ...config,
            ...options,
            name: target.name,
            entry: resolve(target.directory, config.entry),
            check: options.check ?? config.check,
            node: await options.getNode(config.runtime.slice('node@'.length)),
            workDir: options.outDir,
          })),
          marked: true,
          tree: target.directory,
        };
  const files = [...app.files];
  for (const spec of config.files) files.push(...(await packFile(spec.replace(/^\$BUILD(?=\/|:)/, tree), target.directory)));
  for (const spec of options.extraFiles) files.push(...(await packFile(spec, process.cwd())));
  // A static program has its own; `--libc ukl` on one that is not marked is honoured if it is dynamic.
  const libc = marked || choice === 'ukl' ? await libcOf(marked) : undefined;
  return { ...app, files: libc === undefined ? files : files.map((file) => withLibc(file, libc)) };
}
