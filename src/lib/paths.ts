// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The nearest directory above this module with a package.json: as source and as compiled code, modules are at different depths. */
function findRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return directory;
}

/** The checkout or the installed package: patches, configurations and the guest's init are read from here. */
export const projectRoot = findRoot();

/** The directory of an npm package that ukl depends on, wherever npm has put it. */
export function dependency(name: string): string {
  return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
}

/** Where built things are kept, shared by all projects of a user. */
export function storeRoot(): string {
  if (process.env.UKL_STORE) return resolve(process.env.UKL_STORE);
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'ukl');
}
