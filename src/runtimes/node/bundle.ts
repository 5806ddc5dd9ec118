// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { type BuildFailure, build, type Format, formatMessages, type Loader, type Message, type Plugin } from 'esbuild';
import { z } from 'zod';
import { UklError } from '../../lib/errors.js';
import type { GuestFile } from '../../model/index.js';
import { packageOf } from './packages.js';

/** Where the program is in the guest. */
export const APP = '/app';

const CODE = new Set(['.ts', '.mts', '.cts', '.tsx', '.js', '.mjs', '.cjs', '.jsx']);

/** ES modules have no require(); packages that were CommonJS call it for what stays outside of the bundle. */
const REQUIRE = "import { createRequire as __createRequire } from 'node:module'; globalThis.require ??= __createRequire(import.meta.url);";

/** `new URL('./worker.ts', import.meta.url)`: how a module names a file beside it. */
const BESIDE = /new URL\(\s*(['"`])(\.\.?\/[^'"`$]+)\1\s*,\s*import\.meta\.url\s*,?\s*\)/g;

export interface Bundle {
  /** The entry, as a path in the guest. */
  readonly script: string;
  readonly files: readonly GuestFile[];
  /** Directories of the packages that the bundle imports and does not hold. */
  readonly outside: ReadonlyMap<string, string>;
  /** What it was made from, on the host; not the packages. */
  readonly inputs: readonly string[];
}

export interface BundleOptions {
  /** The module that starts. */
  readonly entry: string;
  /** The project's directory: paths in the guest and in stack traces are relative to it. */
  readonly root: string;
  /** Of Node.js, which says what syntax there is. */
  readonly nodeVersion: string;
  /** Packages to carry along as they are. */
  readonly external: readonly string[];
  /** Files in the place of packages, by the packages' names. */
  readonly alias?: Readonly<Record<string, string>> | undefined;
}

/** A file of the project, or of a package, as a path in the guest. */
function guestPath(file: string, root: string): string {
  const inside = relative(root, file);
  if (!inside.startsWith('..')) return join(APP, inside);
  const modules = file.lastIndexOf('/node_modules/');
  return join(APP, modules >= 0 ? file.slice(modules) : basename(file));
}

/** Where the compiled form of a module goes. */
function outputPath(file: string, root: string, format: Format): string {
  const path = guestPath(file, root);
  return `${path.slice(0, path.length - extname(path).length)}${format === 'cjs' ? '.cjs' : '.mjs'}`;
}

/** Compiler messages as esbuild itself would print them. */
async function asError(messages: readonly Message[], cause?: unknown): Promise<UklError> {
  const text = await formatMessages([...messages], { kind: 'error', color: false, terminalWidth: 100 });
  const missing = messages.map(({ text }) => /Could not resolve "([^"./][^"]*)"/.exec(text)?.[1]).find((name) => name !== undefined);
  return new UklError('UKL_COMPILE', `could not bundle: ${messages[0]?.text ?? 'unknown error'}`, {
    details: text.join('').trimEnd(),
    ...(missing === undefined ? {} : { hint: `npm install ${missing}` }),
    cause,
  });
}

/** Finds native packages and files named beside a module, while esbuild looks for modules. */
function observer(options: BundleOptions, outside: Map<string, string>, entries: Set<string>, assets: Map<string, string>, format: () => Format): Plugin {
  return {
    name: 'ukl',
    setup({ onResolve, onLoad, resolve: find }) {
      onResolve({ filter: /^[^./]/ }, async ({ path, kind, resolveDir, pluginData }) => {
        if (pluginData === 'seen' || path.startsWith('node:') || kind === 'entry-point') return undefined;
        const name = path
          .split('/')
          .slice(0, path.startsWith('@') ? 2 : 1)
          .join('/');
        if (outside.has(name)) return { path, external: true };
        const found = await find(path, { kind, resolveDir, pluginData: 'seen' });
        // esbuild's own verdict is better: what is required within try may be missing.
        if (found.errors.length > 0 || found.external) return undefined;
        const home = await packageOf(found.path, name);
        if (home === undefined || !(home.native || options.external.includes(name))) return found;
        outside.set(name, home.directory);
        return { path, external: true };
      });
      onLoad({ filter: /\.[cm]?[jt]sx?$/ }, async ({ path }) => {
        const text = await readFile(path, 'utf8');
        if (!text.includes('import.meta.url')) return undefined;
        const contents = text.replace(BESIDE, (whole, _quote: string, name: string) => {
          const file = resolve(dirname(path), name);
          if (!existsSync(file)) return whole;
          if (CODE.has(extname(file))) {
            entries.add(file);
            return `new URL(${JSON.stringify(`file://${outputPath(file, options.root, format())}`)})`;
          }
          assets.set(file, guestPath(file, options.root));
          return `new URL(${JSON.stringify(`file://${guestPath(file, options.root)}`)})`;
        });
        return {
          contents,
          loader: extname(path)
            .replace(/^\.[cm]/, '.')
            .slice(1) as Loader,
        };
      });
    },
  };
}

/** A source map, of which esbuild writes more than is changed here. */
const sourceMap = z.looseObject({ sources: z.array(z.string()), sourcesContent: z.array(z.string().nullable()).optional() });

/** Source maps with paths of the guest in the place of the host's. */
function mapFor(text: string, at: string, root: string): string {
  const map = sourceMap.parse(JSON.parse(text));
  const hosts = map.sources.map((source) => resolve(dirname(at), source));
  map.sources = hosts.map((host) => relative(dirname(at), guestPath(host, root)));
  // What came with npm can be read there.
  map.sourcesContent = (map.sourcesContent ?? []).map((content, index) => (hosts[index]?.includes('/node_modules/') ? null : content));
  return JSON.stringify(map);
}

/**
 * Compiles a TypeScript or JavaScript program and the packages it imports into
 * one file, with a source map; workers that it names by URL become files too.
 *
 * @throws UKL_COMPILE with esbuild's messages
 */
export async function bundle(options: BundleOptions): Promise<Bundle> {
  const { entry, root, nodeVersion } = options;
  const outside = new Map<string, string>();
  const assets = new Map<string, string>();
  const entries = new Set([entry]);
  let format: Format = 'esm';
  for (;;) {
    const wanted = entries.size;
    const carried = outside.size;
    const result = await build({
      entryPoints: [...entries].map((file) => ({ in: file, out: outputPath(file, root, format).slice(APP.length + 1, -4) })),
      absWorkingDir: root,
      outdir: APP,
      outExtension: { '.js': format === 'cjs' ? '.cjs' : '.mjs' },
      bundle: true,
      write: false,
      platform: 'node',
      target: `node${nodeVersion}`,
      format,
      ...(format === 'esm' ? { banner: { js: REQUIRE } } : {}),
      sourcemap: 'linked',
      metafile: true,
      keepNames: true,
      ...(options.alias === undefined ? {} : { alias: { ...options.alias } }),
      logLevel: 'silent',
      plugins: [observer(options, outside, entries, assets, () => format)],
    }).catch(async (error: unknown) => {
      const { errors } = error as Partial<BuildFailure>;
      throw errors === undefined ? error : await asError(errors, error);
    });
    // CommonJS stays what it is: require.main and __filename would be lost.
    if (format === 'esm' && result.metafile.inputs[relative(root, entry)]?.format === 'cjs') {
      format = 'cjs';
      continue;
    }
    // Packages that look for their own files at run time have to keep them.
    for (const { id, location } of result.warnings) {
      if (id !== 'require-resolve-not-external' || location === null) continue;
      const home = await packageOf(resolve(root, location.file));
      if (home !== undefined) outside.set(home.name, home.directory);
    }
    if (entries.size > wanted || outside.size > carried) continue;
    const files: GuestFile[] = result.outputFiles.map(({ path, contents, text }) => ({
      guest: path,
      kind: 'data',
      data: path.endsWith('.map') ? Buffer.from(mapFor(text, path, root)) : contents,
      mode: 0o644,
    }));
    for (const [host, guest] of assets) files.push({ guest, kind: 'file', host, mode: 0o644 });
    const inputs = [...Object.keys(result.metafile.inputs).map((path) => resolve(root, path)), ...assets.keys()].filter(
      (path) => !path.includes('/node_modules/'),
    );
    return { script: outputPath(entry, root, format), files, outside, inputs };
  }
}
