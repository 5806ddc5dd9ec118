// SPDX-License-Identifier: MIT
/** Directories of the host that a guest shares. */
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { host, runGuest, startGuest, ukl } from './harness.js';

const program = join(projectRoot, 'test/fixtures/volume.c');

let work: string;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-volumes,')); // QEMU's options are split at commas
  for (const name of ['a', 'b']) await mkdir(join(work, name));
  await writeFile(join(work, 'a/from-host'), 'from the host\n');
  await writeFile(join(work, 'b/to-go'), '');
});
afterEach(() => rm(work, { recursive: true, force: true }));

const volumes = (): string[] => [`${join(work, 'a')}:/a`, `${join(work, 'b')}:/b`];

describe.each([
  { how: 'ring 0', options: {} },
  { how: 'the stock kernel', options: { kernel: 'stock' } },
] as const)('a volume, $how', ({ options }) => {
  test('is read and written on both sides', async () => {
    const result = await runGuest(program, { ...options, volumes: volumes() });
    expect(result).toMatchObject({ end: { kind: 'exit', status: 0 }, stdout: 'from the host\ndone\n', stderr: '' });
    expect((await readdir(join(work, 'b'))).sort()).toEqual(['directory', 'link', 'mapped', 'written']);
    expect(await readFile(join(work, 'b/written'), 'utf8')).toBe('from the guest\n');
    expect((await stat(join(work, 'b/written'))).mode & 0o777).toBe(0o640);
    expect(await readFile(join(work, 'b/mapped'), 'utf8')).toBe('m'.repeat(10_000));
    expect(await readlink(join(work, 'b/link'))).toBe('written');
  });
});

test('what the host writes meanwhile is seen', async () => {
  await using guest = await startGuest('/bin/bash', {
    volumes: volumes(),
    args: ['-c', 'while ! [ -e /a/later ]; do read -t 0.1 < <(:); done; echo "$(< /a/later)"; until [ "$(< /a/later)" = twice ]; do :; done; echo seen'],
  });
  await writeFile(join(work, 'a/later.part'), 'once\n');
  await host('mv', [join(work, 'a/later.part'), join(work, 'a/later')]);
  await guest.stdout.until(/once/);
  await writeFile(join(work, 'a/later'), 'twice\n');
  expect((await guest.result).end).toEqual({ kind: 'exit', status: 0 });
  expect(guest.stdout.text()).toBe('once\nseen\n');
});

test('a program in a volume runs in ring 3: ring 0 is for files of the image', async () => {
  await writeFile(
    join(work, 'a/ring.c'),
    '#include <stdio.h>\nint main(void) { unsigned short cs; __asm__ ("mov %%cs, %0" : "=r" (cs)); printf ("%d\\n", cs & 3); }\n',
  );
  expect((await host('gcc', ['-static', '-o', join(work, 'a/ring'), join(work, 'a/ring.c')])).code).toBe(0);
  const { stdout } = await runGuest('/bin/bash', {
    volumes: volumes(),
    files: [`${join(work, 'a/ring')}:/ring`],
    ring0: ['/ring'],
    args: ['-c', '/ring; /a/ring'],
  });
  expect(stdout).toBe('0\n3\n');
});

test('a directory that is not there is not shared', async () => {
  const { code, stderr } = await host(ukl, ['run', program, '--volume', `${join(work, 'typo')}:/a`]);
  expect(code).toBe(125);
  expect(stderr).toMatch(/typo does not exist[\s\S]*UKL_VOLUME/);
});
