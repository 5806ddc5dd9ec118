// SPDX-License-Identifier: MIT
/** The examples of docs/sdk.md, run as they are. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { host } from './harness.js';

/** What each prints, in the order of the page. */
const EXPECTED = [
  'Hello from Express\n',
  '42\n\nexit 0\n',
  /^\[ '\/app\/greeting' \] true\nHello from ring 0 of Linux [\d.]+\n$/,
  'UKL_NO_TARGET true\ninterrupted\n',
];

const page = await readFile(join(projectRoot, 'docs/sdk.md'), 'utf8');
const examples = [...page.matchAll(/```ts\n([^]*?)```/g)].map(([, code = '']) => code);

let work: string;
beforeAll(async () => {
  // Below the checkout, so that 'ukl' is found: it is the package's own name.
  work = await mkdtemp(join(projectRoot, '.ukl-sdk-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

test('each example of the page is tried', () => expect(examples.length).toBe(EXPECTED.length));

test.each(examples.map((code, index) => [index + 1, code] as const))('example %i of docs/sdk.md', async (number, code) => {
  const file = join(work, `${number}.mts`);
  await writeFile(file, code);
  const {
    stdout,
    stderr,
    code: status,
  } = await host('sh', ['-c', `cd '${projectRoot}' && exec node --import ./node_modules/tsx/dist/loader.mjs '${file}'`], { NO_COLOR: '1' });
  expect(status, stderr).toBe(0);
  expect(stdout).toEqual(typeof EXPECTED[number - 1] === 'string' ? EXPECTED[number - 1] : expect.stringMatching(EXPECTED[number - 1] as RegExp));
});
