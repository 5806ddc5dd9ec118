// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { cp, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, extname, join, relative } from 'node:path';
import { z } from 'zod';
import { exec } from '../../lib/exec.js';
import { hashValue } from '../../lib/hash.js';
import type { Log } from '../../lib/log.js';
import type { GuestFile } from '../../model/index.js';
import { packLibraries } from '../../packing/files.js';
import type { NodeRelease } from './release.js';

const words = z.record(z.string(), z.string());
/** What others write in theirs is not ours to refuse: a member of the wrong kind counts as missing (math-intrinsics has `"main": false`). */
const packageJson = z.object({
  name: z.string().optional().catch(undefined),
  version: z.string().optional().catch(undefined),
  main: z.string().optional().catch(undefined),
  gypfile: z.boolean().optional().catch(undefined),
  dependencies: words.optional().catch(undefined),
  optionalDependencies: words.optional().catch(undefined),
});
type PackageJson = z.output<typeof packageJson>;

export interface Package {
  readonly name: string;
  readonly directory: string;
  /** It has compiled code of its own, which no bundle can hold. */
  readonly native: boolean;
}

export async function readPackage(directory: string): Promise<PackageJson | undefined> {
  return readFile(join(directory, 'package.json'), 'utf8').then(
    (text) => packageJson.parse(JSON.parse(text)),
    () => undefined,
  );
}

/** The npm package that a file belongs to, if it is in one (with that name). */
export async function packageOf(file: string, name?: string): Promise<Package | undefined> {
  if (!file.includes('/node_modules/')) return undefined;
  for (let directory = dirname(file); directory !== '/' && !directory.endsWith('/node_modules'); directory = dirname(directory)) {
    const json = await readPackage(directory);
    // Directories within a package may have a package.json that only says "type".
    if (json?.name === undefined || (name !== undefined && json.name !== name)) continue;
    const names = await readdir(directory);
    const native = json.gypfile === true || names.includes('binding.gyp') || names.includes('prebuilds') || names.some((entry) => entry.endsWith('.node'));
    return { name: json.name, directory, native };
  }
  return undefined;
}

/** What nobody needs at run time: sources of native code, their objects, types, documents. */
const LEFT_OUT = new Set(['.c', '.cc', '.cpp', '.h', '.hpp', '.o', '.a', '.d', '.ts', '.mts', '.cts', '.map', '.md', '.gyp', '.gypi', '.mk']);
const LEFT_OUT_DIRECTORIES = new Set(['obj', 'obj.target', '.deps', 'node_modules', 'docs', 'test', 'tests']);

async function packageFiles(directory: string, guest: string): Promise<GuestFile[]> {
  const files: GuestFile[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const host = join(directory, entry.name);
    if (entry.isDirectory()) {
      if (!LEFT_OUT_DIRECTORIES.has(entry.name)) files.push(...(await packageFiles(host, join(guest, entry.name))));
    } else if (entry.isFile() && !LEFT_OUT.has(extname(entry.name))) {
      files.push({ guest: join(guest, entry.name), kind: 'file', host, mode: (await stat(host)).mode & 0o7777 });
      if (entry.name.endsWith('.node')) files.push(...(await packLibraries(host).catch(() => [])));
    }
  }
  return files;
}

/** Where a package finds another one. */
export async function findDependency(name: string, from: string): Promise<string | undefined> {
  for (const place of createRequire(join(from, 'package.json')).resolve.paths(name) ?? []) {
    const directory = join(place, name);
    if (existsSync(join(directory, 'package.json'))) return realpath(directory);
  }
  return undefined;
}

/** The names by which addons register for one version of Node.js: NODE_MODULE() of node.h. */
const REGISTERED_FOR = /node_register_module_v(\d+)/g;

/** Whether a package's compiled code is for another version of Node.js, or was never made. */
async function isForeign(directory: string, modules: string): Promise<boolean> {
  let addons = 0;
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.node')) continue;
    addons++;
    const text = await readFile(join(entry.parentPath, entry.name), 'latin1');
    const versions = [...text.matchAll(REGISTERED_FOR)].map(([, version]) => version);
    if (versions.length > 0 && !versions.includes(modules)) return true;
  }
  return addons === 0 && existsSync(join(directory, 'binding.gyp'));
}

export interface CarryOptions {
  readonly node: NodeRelease;
  /** Where rebuilt packages go. */
  readonly workDir: string;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
}

/** NODE_MODULE_VERSION of the runtime, from its headers. */
async function moduleVersion(node: NodeRelease): Promise<string> {
  const header = await readFile(join(node.headers, 'include/node/node_version.h'), 'utf8');
  return /#define NODE_MODULE_VERSION (\d+)/.exec(header)?.[1] ?? '';
}

/** npm and what it starts run under the guest's Node.js, and compile against its headers. */
export function npmEnv(node: NodeRelease): Record<string, string> {
  return { PATH: `${node.bin}:${process.env.PATH ?? ''}`, npm_config_nodedir: node.headers, npm_config_loglevel: 'error' };
}

/** A native package that was compiled for another Node.js, compiled once more in a copy. */
async function rebuilt(name: string, directory: string, options: CarryOptions): Promise<string> {
  const modules = await moduleVersion(options.node);
  if (!(await packageOf(join(directory, 'package.json')))?.native || !(await isForeign(directory, modules))) return directory;
  const { version } = (await readPackage(directory)) ?? {};
  const home = join(options.workDir, 'addons', hashValue({ name, version, modules, directory }).slice(0, 12));
  const copy = join(home, 'node_modules', name);
  if (existsSync(join(home, 'complete'))) return copy;
  await options.log.step(`compile ${name} for Node.js ${options.node.version}`, async () => {
    await rm(home, { recursive: true, force: true });
    await cp(directory, copy, { recursive: true, filter: (path) => !relative(directory, path).startsWith('node_modules') });
    const gyp = join(dirname(await realpath((await exec('sh', ['-c', 'command -v npm'])).trim())), '../node_modules/node-gyp/bin/node-gyp.js');
    await exec('node', [gyp, 'rebuild', '--release'], {
      cwd: copy,
      env: { ...npmEnv(options.node), NODE_PATH: dirname(directory) },
      log: join(home, 'log'),
      signal: options.signal,
      errorCode: 'UKL_COMPILE',
    });
    await exec('touch', [join(home, 'complete')]);
  });
  return copy;
}

/**
 * Files of packages that stay outside the bundle, with the packages that they
 * need in turn.
 */
export async function carryPackages(packages: ReadonlyMap<string, string>, into: string, options: CarryOptions): Promise<GuestFile[]> {
  const files: GuestFile[] = [];
  const placed = new Map<string, string>();
  const carry = async (name: string, directory: string, modules: string): Promise<void> => {
    const top = join(into, name);
    const taken = placed.get(top);
    if (taken === directory) return;
    // Another version of it is there already: this one goes below who asked for it.
    const guest = taken === undefined ? top : join(modules, name);
    if (placed.get(guest) === directory) return;
    placed.set(guest, directory);
    files.push(...(await packageFiles(await rebuilt(name, directory, options), guest)));
    const json = await readPackage(directory);
    for (const needed of Object.keys({ ...json?.dependencies, ...json?.optionalDependencies })) {
      const found = await findDependency(needed, directory);
      if (found !== undefined) await carry(needed, found, join(guest, 'node_modules'));
    }
  };
  for (const [name, directory] of packages) await carry(name, await realpath(directory), into);
  return files;
}
