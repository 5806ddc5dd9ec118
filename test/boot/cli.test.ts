// SPDX-License-Identifier: MIT
/** The command line's own words, against files that a person has read. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { build } from '../../src/build/build.js';
import { openImage } from '../../src/image/image.js';
import { projectRoot, storeRoot } from '../../src/lib/paths.js';
import { type CommandResult, host, ukl } from './harness.js';

const golden = (name: string): string => join(projectRoot, 'test/golden', `${name}.txt`);
const cli = (...args: string[]): Promise<CommandResult> => host(ukl, args, { NO_COLOR: '1', COLUMNS: '100' });

describe('help', () => {
  const verbs = ['run', 'dev', 'build', 'deploy', 'cc', 'inspect', 'init', 'bench', 'profile', 'doctor', 'clean', 'push', 'pull', 'snapshot', 'functions'];
  const guestVerbs = ['ps', 'logs', 'exec', 'cp', 'stop', 'events', 'up', 'metrics'];
  test.each([...verbs, ...guestVerbs])('ukl %s --help', async (verb) => {
    const { code, stdout } = await cli(verb, '--help');
    expect(code).toBe(0);
    await expect(stdout).toMatchFileSnapshot(golden(`help-${verb}`));
  });
  test.each(['snapshot save', 'functions serve'])('ukl %s --help', async (verbs) => {
    const { code, stdout } = await cli(...verbs.split(' '), '--help');
    expect(code).toBe(0);
    await expect(stdout).toMatchFileSnapshot(golden(`help-${verbs.replace(' ', '-')}`));
  });
  test('ukl', async () => {
    const { code, stdout } = await cli();
    expect(code).toBe(0);
    await expect(stdout).toMatchFileSnapshot(golden('help'));
  });
});

test('every error code has its section in docs/errors.md, and no other', async () => {
  const source = await readFile(join(projectRoot, 'src/lib/errors.ts'), 'utf8');
  const codes = [...source.matchAll(/^ {2}\| '(UKL_\w+)'/gm)].map((match) => match[1]);
  const docs = await readFile(join(projectRoot, 'docs/errors.md'), 'utf8');
  const sections = [...docs.matchAll(/^## (UKL_\w+)$/gm)].map((match) => match[1]);
  expect(codes.length).toBeGreaterThan(10);
  expect([...sections].sort()).toEqual([...codes].sort());
});

test('build -o into a directory that does not exist says so', async () => {
  const { code, stderr } = await cli('build', join(projectRoot, 'examples/count'), '-o', '/no/such/directory/x.image');
  expect(code).toBe(2);
  expect(stderr).toMatch(/the directory \/no\/such\/directory does not exist .*\nnext: mkdir -p \/no\/such\/directory/);
});

test('build -o a directory leaves the directory as it is', async () => {
  const work = await mkdtemp(join(tmpdir(), 'ukl-cli-'));
  try {
    await writeFile(join(work, 'file'), 'kept');
    expect((await cli('build', join(projectRoot, 'examples/count'), '-o', work)).code).toBe(2);
    expect(await readFile(join(work, 'file'), 'utf8')).toBe('kept');
  } finally {
    await rm(work, { recursive: true });
  }
});

test('an image from elsewhere gets no directory of this host that is not beside it', async () => {
  const work = await mkdtemp(join(tmpdir(), 'ukl-cli-'));
  try {
    const image = join(work, 'image');
    await build({ name: 'sum', program: '/usr/bin/true', volumes: ['/etc:/host'] }, { out: image });
    await rm(`${image}.host.json`);
    const { code, stderr } = await cli('run', image, '--dry-run', '--accel', 'tcg');
    expect(code).toBe(125);
    expect(stderr).toMatch(/asks for \/etc, which is not beside it/);
  } finally {
    await rm(work, { recursive: true });
  }
});

test.each([
  [['run', '--frobnicate'], 2],
  [['frobnicate'], 2],
  [['run', '/no/such/target'], 125],
])('%j with --json: an error is one JSON document', async (words, status) => {
  const { code, stdout } = await cli(...words, '--json');
  expect(code).toBe(status);
  expect(JSON.parse(stdout)).toMatchObject({ version: 1, ok: false, error: { code: expect.stringMatching(/^UKL_/), message: expect.any(String) } });
});

describe('an image', () => {
  let work: string;
  let image: string;
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'ukl-cli-'));
    image = join(work, 'image');
    await build({ name: 'sum', program: '/usr/bin/true', ports: ['18080:80'] }, { out: image });
  });
  afterAll(() => rm(work, { recursive: true, force: true }));

  test.each([
    [['--ring', '3'], /is an image, which 'ring' cannot change .*\nnext: give it to ukl build/],
    [['-p', '18080:81'], /host port 127\.0\.0\.1:18080\/tcp is given twice/],
    [['--disk', 'a:/a', '--disk', 'a:/b'], /disk .*\/a is given twice/],
    [['--disk', 'a:/a', '--volume', '.:/a'], /the path in the guest \/a is given twice/],
  ])('with %j is refused before any work', async (words, message) => {
    expect(await cli('run', image, '--dry-run', '--accel', 'tcg', ...words)).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
  });

  test('that is damaged is called that', async () => {
    const bytes = await readFile(image);
    const { kernel } = (await openImage(image)).manifest;
    bytes.write('x', kernel.bytes);
    const damaged = join(work, 'damaged');
    await writeFile(damaged, bytes);
    const { code, stderr } = await cli('inspect', damaged, '--calls');
    expect(code).toBe(1);
    expect(stderr).toMatch(/\[UKL_IMAGE\]/);
  });
});

test('clean --store removes the store, and nothing else that is in its directory', async () => {
  const work = await mkdtemp(join(tmpdir(), 'ukl-cli-'));
  try {
    await mkdir(join(work, 'logs'));
    await writeFile(join(work, 'mine.txt'), 'kept');
    expect((await host(ukl, ['clean', work, '--store'], { UKL_STORE: work })).code).toBe(0);
    expect(await readdir(work)).toEqual(['mine.txt']);
  } finally {
    await rm(work, { recursive: true });
  }
});

test('a program that does not compile is exit status 125 of run, and 1 of build', async () => {
  const work = await mkdtemp(join(tmpdir(), 'ukl-cli-'));
  try {
    await writeFile(join(work, 'wrong.c'), 'int main(void) { return x; }\n');
    expect((await cli('run', join(work, 'wrong.c'))).code).toBe(125);
    expect((await cli('build', join(work, 'wrong.c'), '-o', join(work, 'image'))).code).toBe(1);
  } finally {
    await rm(work, { recursive: true });
  }
});

test('two files of one name are two programs', async () => {
  const work = await mkdtemp(join(tmpdir(), 'ukl-cli-'));
  try {
    for (const name of ['a', 'b']) {
      await mkdir(join(work, name));
      await writeFile(join(work, name, 'hello.c'), `#include <stdio.h>\nint main(void) { puts("${name}${name}${name}"); }\n`);
      await build(join(work, name, 'hello.c'), { out: join(work, `${name}.image`) });
    }
    const programs = await Promise.all(['a', 'b'].map(async (name) => (await openImage(join(work, `${name}.image`))).host?.program ?? ''));
    expect(new Set(programs).size).toBe(2);
    for (const [index, path] of programs.entries()) expect(await readFile(path, 'latin1')).toContain(['aaa\0', 'bbb\0'][index]);
  } finally {
    await rm(work, { recursive: true });
  }
});

describe('a project', () => {
  let work: string;
  let project: string;
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'ukl-cli-'));
    project = join(work, 'count');
    await cp(join(projectRoot, 'examples/count'), project, { recursive: true, filter: (path) => !path.includes('.ukl') });
  });
  afterAll(() => rm(work, { recursive: true, force: true }));

  /** What differs from machine to machine is not what the text is about. */
  const neutral = (text: string): string =>
    text
      .replaceAll(/\/tmp\/ukl-run-\w+/g, '$RUN')
      .replaceAll(work, '$WORK')
      .replaceAll(storeRoot(), '$STORE')
      .replaceAll(/[\d.]+ (KiB|MiB)/g, 'N $1')
      .replaceAll(/\b[0-9a-f]{16}\b/g, 'HASH')
      .replaceAll(/Linux 6\.12\.\d+/g, 'Linux 6.12.N')
      .replaceAll(/\d{5,} bytes/g, 'N bytes')
      .replaceAll(/tsc_early_khz=\d+/g, 'tsc_early_khz=N')
      .replaceAll(/^ +N/gm, '  N');

  test('is planned, built, inspected and cleaned', { timeout: 120_000 }, async () => {
    await host('sh', [
      '-c',
      `echo '{ "name": "count", "sources": ["count.c"], "memory": "128M", "ports": ["18080:80"], "ring": 3 }' > ${project}/ukl.config.json`,
    ]);

    const plan = await cli('run', project, '--dry-run', '--accel', 'tcg', '-c', '2', '--', 'a b');
    expect(plan.code, plan.stderr).toBe(0);
    await expect(neutral(plan.stdout)).toMatchFileSnapshot(golden('dry-run'));

    expect((await cli('run', project, '--dry-run', '--accel', 'tcg', '--cpu', 'EPYC,-avx')).stdout).toMatch(/ -cpu EPYC,-avx /);
    expect(await cli('run', project, '--dry-run', '--accel', 'tcg', '--cpu', 'EPYK')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no model of a processor named 'EPYK' \[UKL_USAGE\]\nnext: one of .*, EPYC, /),
    });
    expect(await cli('run', project, '--dry-run', '--accel', 'tcg', '--cpu', 'host')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/needs KVM.*\nnext: --cpu max/),
    });

    const built = await cli('build', project);
    expect(built.code, built.stderr).toBe(0);
    expect((await stat(join(project, '.ukl/count.image'))).isFile()).toBe(true);

    const inspected = await cli('inspect', project);
    expect(inspected.code).toBe(0);
    await expect(neutral(inspected.stdout)).toMatchFileSnapshot(golden('inspect'));
    const manifest = (JSON.parse((await cli('inspect', project, '--json')).stdout) as { manifest: { ring: number; files: { path: string }[] } }).manifest;
    expect(manifest.ring).toBe(3);
    expect(manifest.files.map((file) => file.path)).toContain('/app/count');

    expect((await cli('clean', project, '--dry-run')).stdout).toMatch(/would remove: .*count\/\.ukl/);
    expect(await readdir(project)).toContain('.ukl');
    expect((await cli('clean', project)).code).toBe(0);
    expect(await readdir(project)).not.toContain('.ukl');
    expect(await cli('inspect', project)).toMatchObject({ code: 1, stderr: expect.stringMatching(/is not an image \[UKL_IMAGE\]\nnext: ukl build/) });
  });

  test('doctor is content with a machine that the tests run on', { timeout: 120_000 }, async () => {
    const { code, stdout } = await cli('doctor');
    expect(code, stdout).toBe(0);
    expect(stdout).toMatch(/✔ qemu-system-x86 +1:/);
    expect(stdout).toMatch(/[✔!] kvm +/);
    expect(stdout).toMatch(/ready: ukl run examples\/hello\n$/);
  });
});
