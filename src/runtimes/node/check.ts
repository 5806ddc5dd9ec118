// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { UklError } from '../../lib/errors.js';
import { exec } from '../../lib/exec.js';
import { dependency } from '../../lib/paths.js';
import { makeScratch } from '../../lib/scratch.js';

/** What a file without a tsconfig.json is checked with. */
const DEFAULTS = {
  strict: true,
  target: 'esnext',
  module: 'esnext',
  moduleResolution: 'bundler',
  moduleDetection: 'force',
  allowImportingTsExtensions: true,
  skipLibCheck: true,
  noEmit: true,
  types: ['node'],
} as const;

/** The nearest file of that name, from a directory upwards. */
export function findUp(name: string, from: string): string | undefined {
  for (let directory = from; ; directory = dirname(directory)) {
    const path = join(directory, name);
    if (existsSync(path)) return path;
    if (directory === dirname(directory)) return undefined;
  }
}

/**
 * Checks a program's types as its own tsconfig.json wants it, with its own
 * compiler if it has one.
 *
 * @param alias files that packages stand for, where there is no tsconfig.json to say so
 * @throws UKL_COMPILE with the compiler's words
 */
export async function checkTypes(entry: string, root: string, signal?: AbortSignal, alias: Readonly<Record<string, string>> = {}): Promise<void> {
  const own = findUp('node_modules/typescript/package.json', root);
  const tsc = join(own === undefined ? dependency('typescript') : dirname(own), 'bin/tsc');
  const tsconfig = findUp('tsconfig.json', root);
  const ours = dirname(dependency('@types/node'));
  // A new project has not installed the types of Node.js yet.
  const typesForProject = findUp('node_modules/@types/node', root) === undefined ? ['--typeRoots', ours] : [];
  await using scratch = await makeScratch('check');
  const made = join(scratch.path, 'tsconfig.json');
  if (tsconfig === undefined) {
    const typeRoots = [findUp('node_modules/@types', root), ours].filter((path) => path !== undefined);
    const paths = Object.fromEntries(Object.entries(alias).map(([name, path]) => [name, [path]]));
    await writeFile(made, JSON.stringify({ compilerOptions: { ...DEFAULTS, typeRoots, paths }, files: [entry] }));
  }
  const args = ['-p', tsconfig ?? made, ...(tsconfig === undefined ? [] : typesForProject)];
  await exec(process.execPath, [tsc, '--noEmit', '--pretty', 'false', ...args], { cwd: root, signal, errorCode: 'UKL_COMPILE' }).catch((error: unknown) => {
    if (!(error instanceof UklError) || error.code !== 'UKL_COMPILE') throw error;
    throw new UklError('UKL_COMPILE', `type errors in ${relative(process.cwd(), entry) || entry}`, {
      ...(error.details === undefined ? {} : { details: error.details }),
      hint: 'correct them, or pass --no-check to run it all the same',
      cause: error,
    });
  });
}
