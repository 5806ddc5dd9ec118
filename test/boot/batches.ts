// SPDX-License-Identifier: MIT
/**
 * The programs of test/guest, many to a guest: most of the time would otherwise
 * go into booting. test/fixtures/runner.c starts them one after the other.
 */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { getCompiler } from '../../src/libc/compiler.js';
import type { StoreContext } from '../../src/store/store.js';
import type { GuestOptions } from './harness.js';

const sources = join(projectRoot, 'test/guest');

/**
 * What has an output to compare with. The programs named sec- are in ring 3, and
 * attack one in ring 0: each has a guest of its own.
 */
export const programs: readonly string[] = (await readdir(sources))
  .flatMap((name) => (name.endsWith('.out') && !name.startsWith('sec-') ? [basename(name, '.out')] : []))
  .sort();

/** The kernel takes 16 names of ring 0 programs, and the runner has one. */
export const BATCH = 15;

export function batchesOf(names: readonly string[], size: number = BATCH): string[][] {
  return Array.from({ length: Math.ceil(names.length / size) }, (_, index) => names.slice(index * size, (index + 1) * size));
}

/** The runner's path on the host, below the directory that compilePrograms() has filled. */
export const runnerIn = (directory: string): string => join(directory, 'runner');

/** Where a program is in the guest. */
export const guestPath = (name: string): string => `/guest/${name}`;

/** Compiles the runner, the programs and `further` ones, which are named by their sources, with our C library. */
export async function compilePrograms(
  directory: string,
  names: readonly string[],
  context: StoreContext,
  further: Readonly<Record<string, string>> = {},
): Promise<void> {
  const gcc = join((await getCompiler('complete', context)).bin, 'ukl-gcc');
  const compile = (output: string, source: string): Promise<string> =>
    exec(gcc, ['-O2', '-static', '-pthread', '-o', output, source, '-lm', '-lrt'], { signal: context.signal });
  await mkdir(join(directory, 'guest'), { recursive: true });
  await compile(runnerIn(directory), join(projectRoot, 'test/fixtures/runner.c'));
  for (const name of names) await compile(join(directory, 'guest', name), join(sources, `${name}.c`));
  for (const [name, source] of Object.entries(further)) await compile(join(directory, 'guest', name), join(projectRoot, source));
}

/** What an image of a batch has in it: all of it in ring 0. */
export function batchImage(directory: string, batch: readonly string[]): Pick<GuestOptions, 'ring' | 'ring0' | 'files'> {
  return { ring: 0, ring0: batch.map(guestPath), files: batch.map((name) => `${join(directory, 'guest', name)}:${guestPath(name)}`) };
}

/** What a program prints if all is well. */
export const expectedOutput = (name: string): Promise<string> => readFile(join(sources, `${name}.out`), 'utf8');

/** What the runner prints of a batch if all is well. */
export async function expectedOutputs(batch: readonly string[]): Promise<string> {
  const outputs = await Promise.all(batch.map(async (name) => `== ${name}\n${await expectedOutput(name)}== exit 0\n`));
  return outputs.join('');
}
