// SPDX-License-Identifier: MIT
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { expect, test } from 'vitest';
import { reference } from '../../scripts/reference.js';
import { flagsOf, givenBy, type RawFlags } from '../../src/cli/flags.js';
import { projectRoot } from '../../src/lib/paths.js';
import { jsonSchema } from '../../src/options/config.js';
import { TABLES, withTables } from '../../src/options/document.js';
import type { OptionDeclaration } from '../../src/options/option.js';
import { OPTIONS } from '../../src/options/options.js';

const read = (path: string): Promise<string> => readFile(join(projectRoot, path), 'utf8');

test('ukl.schema.json is up to date: npm run generate', async () => {
  expect(await read('ukl.schema.json')).toBe(jsonSchema());
});

test.each(['docs/config.md', 'docs/cli.md'])('the tables of %s are up to date: npm run generate', async (path) => {
  const text = await read(path);
  const markers = [...text.matchAll(/<!-- table: ([a-z ]+) -->/g)].map(([, name = '']) => name);
  expect(markers.length).toBeGreaterThan(0);
  for (const name of markers) expect(Object.keys(TABLES)).toContain(name);
  expect(text).toBe(withTables(text));
});

test('docs/reference.md is up to date: npm run generate', async () => {
  expect(await read('docs/reference.md')).toBe(await reference());
});

test('each flag is one option, and help is one phrase', () => {
  const declarations: readonly OptionDeclaration[] = Object.values(OPTIONS);
  const flags = declarations.flatMap(({ flag }) => (flag === undefined ? [] : [flag.words]));
  expect(new Set(flags.map((words) => words.replace(/ .*/, ''))).size).toBe(flags.length);
  for (const { help, flag } of declarations) {
    expect(help).not.toMatch(/\.$/);
    if (flag?.help !== undefined) expect(flag.help).not.toMatch(/\.$|^[A-Z]/);
  }
});

/** What the flags of a run give. */
function parse(...argv: readonly string[]): unknown {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  for (const flag of flagsOf('run', 'build')) command.addOption(flag);
  command.parse([...argv], { from: 'user' });
  const flags: RawFlags = command.opts();
  return { ...givenBy(flags, 'build'), ...givenBy(flags, 'run') };
}

test('flags become options', () => {
  expect(parse()).toEqual({});
  expect(parse('-p', '8080:80', '-p', '0.0.0.0:53:53/udp', '-e', 'A=1', '-e', 'B=', '--cpus', '2', '--no-check', '--icount', '--ring', '3')).toEqual({
    ports: ['8080:80', '0.0.0.0:53:53/udp'],
    env: { A: '1', B: '' },
    cpus: 2,
    check: false,
    icount: true,
    ring: 3,
  });
});

test.each([
  [['-p', '80'], /HOST:GUEST/],
  [['--cpus', '65'], /1 to 64/],
  [['--cpus', '1.5'], /1 to 64/],
  [['--ring', '1'], /0 or 3/],
  [['--timeout', '0'], /above 0/],
  [['--container', 'floppy'], /bzImage, elf/],
  [['--vmm', 'xen'], /qemu/],
  [['--ring0', 'worker'], /absolute/],
])('%j is refused', (argv, message) => {
  expect(() => parse(...argv)).toThrow(message);
});
