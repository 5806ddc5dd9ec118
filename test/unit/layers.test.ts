// SPDX-License-Identifier: MIT
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';

/** What each folder of src/ may import from others: data flows one way. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  config: ['lib'],
  toolchain: ['lib', 'artifacts'],
  app: ['lib', 'config', 'artifacts'],
  image: ['lib', 'artifacts'],
  vmm: ['lib', 'artifacts', 'app'], // app/elf: a fault's symbol
  artifacts: [],
  index: ['lib', 'config', 'toolchain', 'app', 'image', 'vmm', 'artifacts'],
  dev: ['lib', 'toolchain', 'app', 'artifacts', 'index'],
  init: ['lib'],
  bench: ['lib', 'config', 'toolchain', 'artifacts', 'index'],
  profile: ['lib', 'toolchain', 'app', 'image', 'artifacts', 'index'], // app/elf: what a file's addresses are
  cli: ['lib', 'config', 'toolchain', 'app', 'image', 'vmm', 'artifacts', 'index', 'dev', 'init', 'bench', 'profile'],
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
      if (to !== from && !ALLOWED[from]?.includes(to)) wrong.push(`${file} imports ${path}`);
    }
  }
  expect(wrong).toEqual([]);
});
