// SPDX-License-Identifier: MIT
/** `ukl init`: a project that runs, to start from. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { UklError } from '../lib/errors.js';
import { projectRoot } from '../lib/paths.js';

/** Files of every new project, as they are. */
const TEMPLATE = join(projectRoot, 'templates/node');

/** What Node.js can run as it is, checked strictly. */
const COMPILER_OPTIONS = {
  target: 'es2023',
  lib: ['es2023', 'esnext.disposable'],
  module: 'esnext',
  moduleResolution: 'bundler',
  moduleDetection: 'force',
  types: ['node'],
  strict: true,
  verbatimModuleSyntax: true,
  allowImportingTsExtensions: true,
  skipLibCheck: true,
  noEmit: true,
} as const;

/** The files of a new project, by name. */
async function template(name: string): Promise<Readonly<Record<string, string>>> {
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  return {
    'package.json': json({ name, private: true, type: 'module', main: 'server.ts', scripts: { start: 'ukl run', dev: 'ukl dev' } }),
    // Its types are in the package ukl, which a project need not install.
    'tsconfig.json': json({ compilerOptions: COMPILER_OPTIONS, include: ['*.ts'], exclude: ['ukl.config.ts'] }),
    ...Object.fromEntries(await Promise.all((await readdir(TEMPLATE)).map(async (file) => [file, await readFile(join(TEMPLATE, file), 'utf8')] as const))),
    '.gitignore': '.ukl/\nnode_modules/\n',
  };
}

/**
 * Writes a TypeScript server with its configuration into a directory, which
 * may exist as long as none of the files does.
 *
 * @returns the names of the files
 * @throws UKL_USAGE if a file is in the way; nothing is written then
 */
export async function init(directory: string): Promise<readonly string[]> {
  const files = await template(
    basename(resolve(directory))
      .toLowerCase()
      .replaceAll(/[^a-z0-9._-]/g, '-'),
  );
  const names = Object.keys(files);
  const taken = names.filter((name) => existsSync(join(directory, name)));
  if (taken.length > 0) {
    throw new UklError('UKL_USAGE', `${directory} has ${taken.join(', ')} already`, { hint: 'name another directory: ukl init my-server' });
  }
  await mkdir(directory, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text, { flag: 'wx' });
  return names;
}
