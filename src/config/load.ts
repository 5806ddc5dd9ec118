// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { register } from 'node:module';
import { basename, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { UklError } from '../lib/errors.js';
import { projectRoot } from '../lib/paths.js';
import { type ResolvedConfig, configSchema } from './schema.js';

const NAMES = ['ukl.config.ts', 'ukl.config.mts', 'ukl.config.js', 'ukl.config.mjs', 'ukl.config.json'];

/** A project finds `import { defineConfig } from 'ukl'` in this checkout, without installing it. */
const resolveUkl = `export const resolve = (name, context, next) => name === 'ukl' ? { url: ${JSON.stringify(pathToFileURL(join(projectRoot, 'src/index.ts')).href)}, shortCircuit: true } : next(name, context);`;
let registered = false;

/** The configuration file of a directory, if it has one. */
export function findConfig(directory: string): string | undefined {
  return NAMES.map((name) => join(directory, name)).find((path) => existsSync(path));
}

/** Checks a configuration and fills in the defaults. Throws UKL_CONFIG. */
export function parseConfig(value: unknown, where: string): ResolvedConfig {
  const result = configSchema.safeParse(value);
  if (result.success) return result.data;
  throw new UklError('UKL_CONFIG', `${where} is not a valid configuration`, {
    details: z.prettifyError(result.error),
    hint: 'docs/config.md lists every key',
  });
}

/**
 * Loads a project's configuration. A .ts file is run as a module (the tool
 * itself runs under tsx, which compiles it).
 *
 * @throws UKL_CONFIG
 */
export async function loadConfig(directory: string): Promise<ResolvedConfig & { readonly name: string }> {
  const path = findConfig(directory);
  if (path === undefined) {
    throw new UklError('UKL_CONFIG', `${directory} has no ukl.config.ts or ukl.config.json`, {
      hint: `name a C file or a program instead, or write ${join(directory, 'ukl.config.json')}`,
    });
  }
  let value: unknown;
  try {
    if (path.endsWith('.json')) {
      value = JSON.parse(await readFile(path, 'utf8'));
    } else {
      if (!registered) register(`data:text/javascript,${encodeURIComponent(resolveUkl)}`);
      registered = true;
      const module = (await import(pathToFileURL(path).href)) as { default?: unknown; config?: unknown };
      value = module.config ?? module.default;
    }
  } catch (error) {
    throw new UklError('UKL_CONFIG', `could not load ${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  const config = parseConfig(value, path);
  return { ...config, name: config.name ?? basename(resolve(directory)) };
}
