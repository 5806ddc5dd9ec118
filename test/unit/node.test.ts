// SPDX-License-Identifier: MIT
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/lib/log.js';
import { bundle } from '../../src/runtimes/node/bundle.js';
import { checkTypes } from '../../src/runtimes/node/check.js';
import { findEntry } from '../../src/runtimes/node/node.js';
import { carryPackages } from '../../src/runtimes/node/packages.js';
import { nodeVersion } from '../../src/runtimes/node/release.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ukl-node-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Writes files and returns the directory they are in. */
async function project(name: string, files: Readonly<Record<string, string>>): Promise<string> {
  for (const [path, text] of Object.entries(files)) {
    const file = join(root, name, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  return join(root, name);
}

const bundled = async (directory: string, entry: string, external: readonly string[] = []) =>
  bundle({ entry: join(directory, entry), root: directory, nodeVersion: '24.0.0', external });
const paths = (files: readonly { guest: string }[]): string[] => files.map(({ guest }) => guest).sort();
function text(files: readonly { guest: string }[], guest: string): string {
  const file = files.find((candidate) => candidate.guest === guest);
  if (file === undefined || !('data' in file)) throw new Error(`no ${guest}`);
  return Buffer.from(file.data as Uint8Array).toString();
}

describe('bundle', () => {
  test('a module, its imports, a worker and a file beside it, with maps', async () => {
    const directory = await project('esm', {
      'src/server.ts':
        "import { greet } from './greet.ts';\nconst w: URL = new URL('./worker.ts', import.meta.url);\nconsole.log(greet(w), new URL('../page.html', import.meta.url));\n",
      'src/greet.ts': 'export const greet = (url: URL): string => `hello ${url}`;\n',
      'src/worker.ts': "import { greet } from './greet.ts';\ngreet(new URL('x:y'));\n",
      'page.html': '<p>',
    });
    const made = await bundled(directory, 'src/server.ts');
    expect(made.script).toBe('/app/src/server.mjs');
    expect(paths(made.files)).toEqual(['/app/page.html', '/app/src/server.mjs', '/app/src/server.mjs.map', '/app/src/worker.mjs', '/app/src/worker.mjs.map']);
    expect(text(made.files, '/app/src/server.mjs')).toContain('"file:///app/src/worker.mjs"');
    expect((JSON.parse(text(made.files, '/app/src/server.mjs.map')) as { sources: string[] }).sources).toEqual(['greet.ts', 'server.ts']);
  });

  test('CommonJS stays CommonJS', async () => {
    const directory = await project('cjs', { 'main.js': "const fs = require('node:fs');\nif (require.main === module) console.log(__filename, fs);\n" });
    expect((await bundled(directory, 'main.js')).script).toBe('/app/main.cjs');
  });

  test('native packages are carried along with what they need', async () => {
    const directory = await project('native', {
      'main.ts': "import addon from 'addon';\nimport plain from 'plain';\nconsole.log(addon, plain);\n",
      'node_modules/addon/package.json': '{ "name": "addon", "gypfile": true, "dependencies": { "helper": "1" } }',
      'node_modules/addon/index.js': "module.exports = require('helper');",
      'node_modules/addon/src/addon.cc': '',
      'node_modules/helper/package.json': '{ "name": "helper" }',
      'node_modules/helper/index.js': 'module.exports = 1;',
      'node_modules/plain/package.json': '{ "name": "plain" }',
      'node_modules/plain/index.js': 'module.exports = 2;',
    });
    const made = await bundled(directory, 'main.ts');
    expect([...made.outside.keys()]).toEqual(['addon']);
    const node = { version: '24.0.0', bin: '', symbols: '', program: '', headers: root, integrity: '' };
    await project('include/node', { 'node_version.h': '#define NODE_MODULE_VERSION 137\n' });
    const files = await carryPackages(made.outside, '/app/node_modules', { node, workDir: root, log: silentLog });
    expect(paths(files)).toEqual(['addon/index.js', 'addon/package.json', 'helper/index.js', 'helper/package.json'].map((path) => `/app/node_modules/${path}`));
    expect([...(await bundled(directory, 'main.ts', ['plain'])).outside.keys()].sort()).toEqual(['addon', 'plain']);
  });

  test.each([
    ["import 'leftpad';\n", { hint: 'npm install leftpad', details: expect.stringContaining('main.ts:1:7') as string }],
    ['const a = ;\n', { message: 'could not bundle: Unexpected ";"' }],
  ])('%j is refused', async (source, expected) => {
    const directory = await project('bad', { 'main.ts': source });
    await expect(bundled(directory, 'main.ts')).rejects.toMatchObject({ code: 'UKL_COMPILE', ...expected });
  });
});

test("type errors are the compiler's own words", async () => {
  const directory = await project('types', {
    'main.ts': "import { readFileSync } from 'node:fs';\nconst n: number = readFileSync('x', 'utf8');\nconsole.log(n);\n",
    'good.ts': 'export const n: number = 1;\n',
  });
  await expect(checkTypes(join(directory, 'main.ts'), directory)).rejects.toMatchObject({
    code: 'UKL_COMPILE',
    details: expect.stringMatching(/^main\.ts\(2,7\): error TS2322: /) as string,
  });
  await checkTypes(join(directory, 'good.ts'), directory);
});

test('where a project starts', async () => {
  expect(await findEntry(await project('a', { 'package.json': '{ "main": "app.ts" }', 'app.ts': '', 'index.ts': '' }))).toBe('app.ts');
  expect(await findEntry(await project('b', { 'package.json': '{ "main": "dist/missing.js" }', 'src/index.ts': '' }))).toBe('src/index.ts');
  await expect(findEntry(await project('c', { 'package.json': '{}' }))).rejects.toMatchObject({ code: 'UKL_CONFIG' });
});

test('versions of Node.js', () => {
  expect(nodeVersion('24')).toMatch(/^24\.\d+\.\d+$/);
  expect(nodeVersion('24.1.0')).toBe('24.1.0');
  expect(() => nodeVersion('12')).toThrow(expect.objectContaining({ code: 'UKL_CONFIG' }));
});
