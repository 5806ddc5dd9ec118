// SPDX-License-Identifier: MIT
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';

/** What each folder of src/ may import from others: data flows one way. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  model: ['lib'],
  elf: ['lib', 'model'],
  store: ['lib', 'model'],
  host: ['lib', 'model', 'store'],
  config: ['lib', 'model'],
  kernels: ['lib', 'model', 'store', 'host'],
  libc: ['lib', 'model', 'store', 'host'],
  guest: ['lib', 'model', 'store', 'elf'],
  app: ['lib', 'model', 'config', 'elf', 'runtimes'],
  runtimes: ['lib', 'model', 'store', 'config', 'elf', 'app'],
  containers: ['lib', 'model'],
  image: ['lib', 'model', 'guest', 'containers'],
  devices: ['lib', 'model'],
  vmms: ['lib', 'model', 'guest', 'store'],
  run: ['lib', 'model', 'elf', 'vmms'],
  project: ['lib'],
  sdk: ['lib', 'model', 'config', 'host', 'kernels', 'libc', 'guest', 'app', 'runtimes', 'image', 'devices', 'vmms', 'run'],
  dev: ['lib', 'model', 'app', 'runtimes', 'sdk'],
  bench: ['lib', 'model', 'config', 'kernels', 'libc', 'guest', 'host', 'runtimes', 'sdk', 'containers'],
  profile: ['lib', 'model', 'kernels', 'guest', 'elf', 'image', 'sdk'],
  cli: ['*'],
};

test('folders of src import only what comes before them', async () => {
  const root = join(projectRoot, 'src');
  const wrong: string[] = [];
  for (const file of await readdir(root, { recursive: true })) {
    if (!file.endsWith('.ts')) continue;
    const from = file.includes('/') ? (file.split('/')[0] ?? '') : file.replace('.ts', '');
    const text = await readFile(join(root, file), 'utf8');
    expect(text, file).toMatch(/^\/\/ SPDX-License-Identifier: /);
    expect(text, file).not.toMatch(/\bany\b(?=[>;,)\]])|^export default/m);
    for (const [, path] of text.matchAll(/from '(\.\.?\/[^']+)'/g)) {
      const target = join('/', file, '..', path ?? '').slice(1);
      const to = target.includes('/') ? (target.split('/')[0] ?? '') : target.replace('.js', '');
      if (to !== from && ALLOWED[from]?.[0] !== '*' && !ALLOWED[from]?.includes(to)) wrong.push(`${file} imports ${path}`);
    }
  }
  expect(wrong).toEqual([]);
});
