// SPDX-License-Identifier: MIT
/** The compiler and the linter, as tests: one command proves everything. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { dependency, projectRoot } from '../../src/lib/paths.js';

const run = promisify(execFile);

test.each([
  ['tsc', [join(dependency('typescript'), 'bin/tsc'), '--noEmit', '-p', '.']],
  ['biome', [join(dependency('@biomejs/biome'), 'bin/biome'), 'check', '--max-diagnostics=20']],
])('%s has nothing to say', { timeout: 120_000 }, async (_, args) => {
  const { code, output } = await run(process.execPath, args, { cwd: projectRoot, env: { ...process.env, NO_COLOR: '1' } }).then(
    () => ({ code: 0, output: '' }),
    (error: { code: number; stdout: string; stderr: string }) => ({ code: error.code, output: `${error.stdout}${error.stderr}` }),
  );
  expect(code, output).toBe(0);
});
