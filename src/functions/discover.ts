// SPDX-License-Identifier: MIT
/** Finds functions in files and directories, and reads their options. */
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { createContext, runInContext } from 'node:vm';
import { build, type Plugin } from 'esbuild';
import { z } from 'zod';
import { resolveTarget } from '../app/target.js';
import { findConfig } from '../config/load.js';
import { parsePort } from '../devices/ports.js';
import { UklError } from '../lib/errors.js';
import { type FunctionOptions, functionSchema } from '../options/function.js';
import { FUNCTION_PORT, functionFileOf, functionName, isFunction, isScriptFunction } from '../runtimes/functions.js';

/** A function as it is written. */
export interface FunctionSource {
  readonly name: string;
  /** What is built. */
  readonly target: string;
  readonly options: FunctionOptions;
  /** Where its server listens in the guest. */
  readonly port: number;
  /** It says itself when it is to be saved. */
  readonly saysReady: boolean;
}

/** All that a function's file imports is anything that is asked of it: its options depend on none of it. */
const onlyOptions = (entry: string): Plugin => ({
  name: 'options',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /.*/ }, ({ path, kind }) =>
      kind === 'entry-point' ? { path: entry } : { path, namespace: path === 'ukl' ? 'definition' : 'anything', pluginData: undefined },
    );
    onLoad({ filter: /.*/, namespace: 'definition' }, () => ({ contents: 'exports.defineFunction = (config) => ({ config });' }));
    onLoad({ filter: /.*/, namespace: 'anything' }, () => ({ contents: 'module.exports = anything;' }));
  },
});

const ANYTHING = `const anything = new Proxy(function () {}, {
  get: (_, name) => (name === Symbol.toPrimitive ? () => '' : name === '__esModule' || name === 'then' ? undefined : anything),
  apply: () => anything,
  construct: () => anything,
  // A namespace object is made of it by its prototype (esbuild's __toESM).
  getPrototypeOf: () => anything,
});`;

/** How long a function's file may take to come to its options. */
const EVALUATION_MS = 2000;

/** What defineFunction() was given. Throws UKL_CONFIG. */
async function readOptions(path: string): Promise<FunctionOptions> {
  let found: unknown;
  try {
    const { outputFiles } = await build({
      entryPoints: [path],
      bundle: true,
      write: false,
      format: 'iife',
      globalName: 'made',
      platform: 'node',
      target: 'node20',
      define: { 'import.meta.url': '""', 'import.meta.dirname': '""' },
      logLevel: 'silent',
      plugins: [onlyOptions(path)],
    });
    const globals = { process: { env: {} }, console: {}, URL, TextEncoder, TextDecoder, Response, Request, Headers, Buffer };
    const code = `${ANYTHING}\n${outputFiles[0]?.text ?? ''}\nJSON.stringify(made.default?.config ?? null)`;
    found = JSON.parse(String(runInContext(code, createContext(globals), { timeout: EVALUATION_MS })));
  } catch (error) {
    throw new UklError('UKL_CONFIG', `could not read the options of ${path}: ${error instanceof Error ? error.message : String(error)}`, {
      hint: 'they may depend on nothing that the file imports',
      cause: error,
    });
  }
  if (found === null)
    throw new UklError('UKL_CONFIG', `${path} has no function`, { hint: "export default defineFunction({}, (request) => new Response('hi'))" });
  return parseOptions(found, path);
}

function parseOptions(value: unknown, where: string): FunctionOptions {
  const result = functionSchema.safeParse(value);
  if (result.success) return result.data;
  throw new UklError('UKL_CONFIG', `${where} has options that are none`, { details: z.prettifyError(result.error), hint: 'docs/functions.md lists them' });
}

/** Memory of an instance whose function does not say: Node.js with a small program, or a small program. */
const MEMORY = { script: '256M', c: '96M' };

/** C has no options: those of its project, or the defaults. */
async function fromFile(path: string, given: FunctionOptions = functionSchema.parse({})): Promise<FunctionSource> {
  const script = isScriptFunction(path);
  const options = script ? await readOptions(path) : given;
  const memory = options.memory ?? (script ? MEMORY.script : MEMORY.c);
  return { name: functionName(basename(path)), target: path, options: { ...options, memory }, port: FUNCTION_PORT, saysReady: true };
}

/** A project whose ukl.config has a `function`. Throws UKL_CONFIG if it says of no port. */
async function fromProject(path: string): Promise<FunctionSource | undefined> {
  const { name, config } = await resolveTarget(path);
  if (config.function === undefined) return undefined;
  const options = { ...config.function, memory: config.function.memory ?? config.memory };
  const file = functionFileOf(config);
  if (file !== undefined) return { ...(await fromFile(resolve(path, file), options)), name, target: path };
  const port = options.port ?? config.ports.map(parsePort).find(({ protocol }) => protocol === 'tcp')?.guest;
  if (port === undefined)
    throw new UklError('UKL_CONFIG', `${path} does not say which port its program speaks HTTP on`, { hint: 'function: { port: 8080 } in ukl.config' });
  return { name, target: path, options, port, saysReady: false };
}

/** Those of a directory: its own, those in files and in projects below it. */
async function fromDirectory(path: string): Promise<FunctionSource[]> {
  const own = findConfig(path) === undefined ? undefined : await fromProject(path);
  if (own !== undefined) return [own];
  const entries = (await readdir(path, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1));
  const found: FunctionSource[] = [];
  for (const entry of entries) {
    const child = join(path, entry.name);
    if (entry.isFile() && isFunction(child)) found.push(await fromFile(child));
    if (!entry.isDirectory() || entry.name.startsWith('.') || entry.name === 'node_modules') continue;
    if (findConfig(child) !== undefined) found.push(...[await fromProject(child)].filter((source) => source !== undefined));
    else if (entry.name === 'functions') found.push(...(await fromDirectory(child)));
  }
  return found;
}

/**
 * The functions of some files (NAME.function.ts) and directories.
 *
 * @throws UKL_NO_TARGET if there are none, UKL_CONFIG for two of one name or options that are none
 */
export async function discover(paths: readonly string[], mayBeNone = false): Promise<FunctionSource[]> {
  const found: FunctionSource[] = [];
  for (const path of paths.map((one) => resolve(one))) {
    const info = await stat(path).catch(() => undefined);
    if (info === undefined) throw new UklError('UKL_NO_TARGET', `${path} does not exist`, { hint: 'a NAME.function.ts, or a directory of them' });
    if (info.isDirectory()) found.push(...(await fromDirectory(path)));
    else if (isFunction(path)) found.push(await fromFile(path));
    else
      throw new UklError('UKL_NO_TARGET', `${path} is no function`, { hint: 'call it NAME.function.ts, or give its project a ukl.config with function: {}' });
  }
  if (found.length === 0 && !mayBeNone)
    throw new UklError('UKL_NO_TARGET', `there is no function in ${paths.join(', ')}`, { hint: 'a NAME.function.ts, or a ukl.config with function: {}' });
  const names = found.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new UklError('UKL_CONFIG', `two functions are called ${twice}`, { hint: 'name in ukl.config, or another name for the file' });
  return found;
}
