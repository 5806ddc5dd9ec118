// SPDX-License-Identifier: MIT
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';

/** The folders of src, in the order of the data's way: each may import those before it. */
const ORDER = [
  ...['lib', 'model', 'elf', 'store', 'host', 'oci'],
  ...['kernels', 'libc', 'guest', 'containers', 'devices', 'vmms'],
  ...['options', 'config', 'packing', 'runtimes', 'app', 'image', 'build', 'run'],
  ...['deploy', 'inspect', 'doctor', 'project', 'dev', 'profile', 'optimize', 'functions', 'bench', 'detached', 'compose', 'bundle', 'sdk', 'cli'],
];

test('folders of src import only what comes before them', async () => {
  const root = join(projectRoot, 'src');
  const wrong: string[] = [];
  for (const file of await readdir(root, { recursive: true })) {
    if (!file.endsWith('.ts')) continue;
    const from = file.split('/')[0] ?? '';
    expect(ORDER, file).toContain(from);
    const text = await readFile(join(root, file), 'utf8');
    expect(text, file).toMatch(/^(#!.*\n)?\/\/ SPDX-License-Identifier: /);
    expect(text, file).not.toMatch(/\bany\b(?=[>;,)\]])|^export default/m);
    for (const [, path] of text.matchAll(/from '(\.\.?\/[^']+)'/g)) {
      const target = join('/', file, '..', path ?? '').slice(1);
      const to = target.split('/')[0] ?? '';
      if (ORDER.indexOf(to) > ORDER.indexOf(from)) wrong.push(`${file} imports ${path}`);
    }
  }
  expect(wrong).toEqual([]);
});
