// SPDX-License-Identifier: MIT
/** Programs for the processor itself: C sources, builds, ELF files. */
import { existsSync } from 'node:fs';
import { mkdir, realpath, rename, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { isElf, readElf } from '../../elf/elf.js';
import { getDebianSource } from '../../host/debian.js';
import { UklError } from '../../lib/errors.js';
import { exec } from '../../lib/exec.js';
import { projectRoot } from '../../lib/paths.js';
import type { Libc } from '../../model/index.js';
import { packLibraries } from '../../packing/files.js';
import { functionName, isFunction } from '../functions.js';
import type { BuiltApp, Runtime, RuntimeContext } from '../runtime.js';
import { make } from './make.js';

/** Compiles C sources into one static program. Throws UKL_COMPILE with gcc's own words. */
async function compile({ name, directory, config, outDir, log, signal }: RuntimeContext, libc: Libc | undefined): Promise<string> {
  const { sources = [], cflags, libs } = config;
  const files = sources.map((source) => resolve(directory, source));
  for (const file of files) {
    if (!existsSync(file)) throw new UklError('UKL_NO_FILE', `${file} does not exist`);
  }
  await mkdir(outDir, { recursive: true });
  const output = join(outDir, name);
  const partial = `${output}.${process.pid}`;
  await log.step(`compile ${name}`, async () => {
    // -pthread costs nothing in glibc 2.36 and spares a surprise.
    const [compiler, options] = libc === undefined ? ['gcc', ['-isystem', join(projectRoot, 'include')]] : [join(libc.bin, 'ukl-gcc'), []];
    await exec(compiler, [...options, '-O2', '-g', '-static', '-pthread', ...cflags, '-o', partial, ...files, ...libs], {
      cwd: directory,
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

/** The program on the host: compiled, made, or as it was named. */
async function programOf(context: RuntimeContext, tree: string): Promise<{ readonly host: string; readonly named: string | undefined }> {
  const { config } = context;
  if (config.program === undefined) return { host: await compile(context, await context.libcOf(true, 'static')), named: undefined };
  const named = resolve(tree, config.program);
  const host = await realpath(named).catch(() => {
    throw new UklError('UKL_NO_FILE', `the program ${config.program} does not exist`);
  });
  return { host, named };
}

async function build(context: RuntimeContext): Promise<BuiltApp> {
  const { config } = context;
  const made = config.build !== undefined || config.program === undefined;
  const tree =
    config.build === undefined
      ? context.directory
      : await make({ ...context, libc: await context.libcOf(true, 'complete'), getSource: (name) => getDebianSource(name, context) });
  const { host, named } = await programOf(context, tree);
  const elf = await readElf(host);
  if (elf.type === 'other') throw new UklError('UKL_NOT_ELF', `${host} is an object file, not a program`, { hint: 'link it first' });
  const guest = made ? `/app/${basename(host)}` : host;
  const mode = made ? 0o755 : (await stat(host)).mode & 0o7777;
  const calledAs = made ? guest : (named ?? guest);
  return {
    name: context.name,
    host,
    guest,
    command: [calledAs],
    files: [
      { guest, kind: 'file', host, mode: mode | 0o111 },
      ...(await packLibraries(host)),
      ...(calledAs === guest ? [] : [{ guest: calledAs, kind: 'symlink', target: guest } as const]),
    ],
    takesLibc: elf.dynamic && (made || elf.marked),
    tree,
  };
}

export const native: Runtime = {
  name: 'native',
  title: 'C sources, builds, and x86-64 ELF programs',
  defaultMemory: '256M',
  dev: false,
  requirements: ({ debianSource, buildPackages, name }) => [
    ...(debianSource === undefined ? [] : [{ package: 'dpkg-dev', why: 'unpacks source packages', file: '/usr/bin/dpkg-source' }]),
    ...buildPackages.map((wanted) => ({ package: wanted, why: `builds ${name ?? 'the program'}` })),
  ],
  takes: ({ entry, image }) => entry === undefined && image === undefined,
  async fromFile(path) {
    if (isFunction(path)) return { name: functionName(basename(path)), config: { sources: [path], function: {} } };
    if (path.endsWith('.c')) return { name: basename(path, '.c'), config: { sources: [path] } };
    return (await isElf(path)) ? { name: basename(path), config: { program: path } } : undefined;
  },
  fromDirectory: async () => undefined,
  build,
};
