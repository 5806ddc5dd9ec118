// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { z } from 'zod';
import { UklError } from '../lib/errors.js';
import { configSchema, type ResolvedConfig } from '../options/config.js';

const NAMES = ['ukl.config.ts', 'ukl.config.mts', 'ukl.config.js', 'ukl.config.mjs', 'ukl.config.json'];

/** A configuration imports types from 'ukl', and the function that gives them: the rest of the SDK need not be there. */
const configOnly: Plugin = {
  name: 'ukl',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^ukl$/ }, () => ({ path: 'ukl', namespace: 'ukl' }));
    onLoad({ filter: /.*/, namespace: 'ukl' }, () => ({
      contents: 'export const defineConfig = (config) => config; export const defineCompose = defineConfig;',
    }));
  },
};

/**
 * Runs a configuration as an ES module, whatever package.json says of its
 * directory, wherever ukl is installed, and without a file of its own.
 */
export async function evaluate(path: string): Promise<unknown> {
  const { outputFiles } = await build({
    entryPoints: [path],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(path).href), 'import.meta.dirname': JSON.stringify(dirname(path)) },
    logLevel: 'silent',
    plugins: [configOnly],
  });
  const code = Buffer.from(outputFiles[0]?.contents ?? []).toString('base64');
  const module = (await import(`data:text/javascript;base64,${code}`)) as { default?: unknown; config?: unknown };
  return module.config ?? module.default;
}

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
 * Loads a project's configuration. A .ts file is compiled and run.
 *
 * @throws UKL_CONFIG
 */
export async function loadConfig(directory: string): Promise<ResolvedConfig & { readonly name: string }> {
  const path = findConfig(directory);
  if (path === undefined) {
    // What `ukl build --container oci -o server.oci` has made, say.
    if (existsSync(join(directory, 'oci-layout')))
      throw new UklError('UKL_CONFIG', `${directory} is no project but a container image`, { hint: `oci:${directory}` });
    throw new UklError('UKL_CONFIG', `${directory} has no ukl.config.ts or ukl.config.json`, {
      hint: `name a C file or a program instead, or write ${join(directory, 'ukl.config.json')}`,
    });
  }
  let value: unknown;
  try {
    if (path.endsWith('.json')) {
      value = JSON.parse(await readFile(path, 'utf8'));
    } else {
      value = await evaluate(path);
    }
  } catch (error) {
    throw new UklError('UKL_CONFIG', `could not load ${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  const config = parseConfig(value, path);
  return { ...config, name: config.name ?? basename(resolve(directory)) };
}
