// SPDX-License-Identifier: MIT
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout: patches, configurations and the guest's init are read from here. */
export const projectRoot = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Where built things are kept, shared by all projects of a user. */
export function storeRoot(): string {
  if (process.env.UKL_STORE) return resolve(process.env.UKL_STORE);
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'ukl');
}
