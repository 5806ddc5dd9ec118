// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { UklError } from '../../lib/errors.js';
import { exec } from '../../lib/exec.js';
import type { Log } from '../../lib/log.js';
import { projectRoot } from '../../lib/paths.js';
import type { App } from '../../model/index.js';
import { packLibraries } from '../../packing/files.js';
import { APP, bundle } from './bundle.js';
import { checkTypes, findUp } from './check.js';
import { FUNCTION_ALIAS, reseedAddon, writeServer } from './function.js';
import { carryPackages, findDependency, npmEnv, readPackage } from './packages.js';
import type { NodeRelease } from './release.js';

const NODE = '/usr/bin/node';

/** Files that Node.js runs. */
export const isScript = (path: string): boolean => /\.[cm]?[jt]s$/.test(path);

/** Where a project without a configuration is taken to start. */
const USUAL_ENTRIES = ['src/server', 'src/index', 'src/main', 'server', 'index', 'main'].flatMap((name) =>
  ['.ts', '.mts', '.js', '.mjs'].map((extension) => name + extension),
);

/** The module that a directory with a package.json starts with. Throws UKL_CONFIG. */
export async function findEntry(directory: string): Promise<string> {
  const json = await readPackage(directory);
  const found = [json?.main, ...USUAL_ENTRIES].find((path) => path !== undefined && isScript(path) && existsSync(join(directory, path)));
  if (found !== undefined) return found;
  throw new UklError('UKL_CONFIG', `${directory} has a package.json, and nothing says where the program starts`, {
    hint: `name it as "main" in package.json or as entry in ukl.config.ts; looked for ${USUAL_ENTRIES.slice(0, 4).join(', ')} and so on`,
  });
}

/** Installs what package.json asks for, under the guest's Node.js, if something is missing. */
async function installPackages(root: string, node: NodeRelease, log: Log, signal: AbortSignal | undefined): Promise<void> {
  const { dependencies = {} } = (await readPackage(root)) ?? {};
  const found = await Promise.all(Object.keys(dependencies).map((name) => findDependency(name, root)));
  if (!found.includes(undefined)) return;
  const verb = existsSync(join(root, 'package-lock.json')) ? 'ci' : 'install';
  await log.step(`npm ${verb} in ${basename(root)}`, () =>
    exec('npm', [verb, '--no-audit', '--no-fund'], { cwd: root, env: npmEnv(node), signal, errorCode: 'UKL_COMPILE', hint: `cd ${root} && npm ${verb}` }),
  );
}

/** The directory of the nearest package.json, or else the module's own. */
export function projectOf(entry: string): string {
  return dirname(findUp('package.json', dirname(entry)) ?? entry);
}

export interface NodeAppOptions {
  readonly name: string;
  /** The module that starts, on the host. */
  readonly entry: string;
  readonly external: readonly string[];
  readonly nodeArgs: readonly string[];
  readonly check: boolean;
  /** Under a supervisor that takes new versions of the program: `ukl dev`. */
  readonly dev?: boolean;
  /** The entry's default export is a function, which is to be served. */
  readonly function?: boolean;
  readonly node: NodeRelease;
  /** For what is compiled on the way. */
  readonly workDir: string;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A TypeScript or JavaScript program as an application: the official Node.js
 * binary, its libraries, and the program in one file.
 *
 * @throws UKL_COMPILE for type errors and what cannot be bundled
 */
export async function makeNodeApp(options: NodeAppOptions): Promise<App> {
  const { name, node, log, signal } = options;
  const entry = resolve(options.entry);
  if (!existsSync(entry)) throw new UklError('UKL_NO_FILE', `${entry} does not exist`);
  const root = projectOf(entry);
  await installPackages(root, node, log, signal);
  const typed = options.check && /\.[cm]?ts$/.test(entry);
  const { external } = options;
  const start = options.function ? await writeServer(entry, options.workDir) : entry;
  const alias = options.function ? FUNCTION_ALIAS : undefined;
  const [made] = await log.step(`compile ${basename(entry)}`, () =>
    Promise.all([bundle({ entry: start, root, nodeVersion: node.version, external, alias }), typed ? checkTypes(entry, root, signal, alias) : undefined]),
  );
  const carried = await carryPackages(made.outside, join(APP, 'node_modules'), { node, workDir: options.workDir, log, signal });
  return {
    name,
    host: node.symbols,
    guest: NODE,
    command: [basename(NODE), '--enable-source-maps', ...options.nodeArgs, ...(options.dev ? ['/.ukl/dev.mts'] : []), made.script],
    files: [
      { guest: NODE, kind: 'file', host: node.program, mode: 0o755 },
      ...(await packLibraries(node.program)),
      ...made.files,
      ...carried,
      ...(options.function ? [await reseedAddon(node, { log, signal })] : []),
      ...(options.dev ? ['dev.mts', 'standby.cjs'] : []).map(
        (file) => ({ guest: `/.ukl/${file}`, kind: 'file', host: join(projectRoot, 'guest/supervisors/node', file), mode: 0o644 }) as const,
      ),
    ],
  };
}

/** A name for the image of a script: server.ts is "server". */
export function scriptName(path: string): string {
  return basename(path, extname(path));
}
