// SPDX-License-Identifier: MIT
/** The image is one file that boots by itself, whoever starts it. */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { hostTscKhz } from '../../src/run/cmdline.js';
import { build } from '../../src/sdk/index.js';
import { bareQemu, host, runGuest, ukl } from './harness.js';

let work: string;
const imageOf = (container: string): string => join(work, `hello.${container}`);
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-image-'));
  for (const container of ['bzImage', 'elf'] as const) await build(join(projectRoot, 'examples/hello'), { container, out: imageOf(container) });
});
afterAll(() => rm(work, { recursive: true, force: true }));

describe.each(['bzImage', 'elf'] as const)('%s', (format) => {
  test('is run by ukl, under any name', async () => {
    const moved = join(work, `moved-${format}`);
    await copyFile(imageOf(format), moved);
    const { stdout, end } = await runGuest(moved, { accel: 'tcg' });
    expect(stdout).toMatch(/^Hello from ring 0 of Linux 6\.12\.\d+\n$/);
    expect(end).toEqual({ kind: 'exit', status: 0 });
  });

  // Emulated microVMs have no clock to measure the TSC by.
  const khz = hostTscKhz(readFileSync('/proc/cpuinfo', 'utf8'));
  test.each([
    ['microvm', ['-append', `tsc_early_khz=${khz}`]],
    ...(format === 'bzImage'
      ? ([
          ['pc', []],
          ['q35', []],
        ] as const)
      : []),
  ] as const)('boots by itself on QEMU -M %s', async (machine, append) => {
    const { stdout, code } = await bareQemu(60, machine, ['-m', '96', '-kernel', imageOf(format), ...append]);
    expect(stdout).toMatch(/Hello from ring 0 of Linux 6\.12\.\d+\r\n/);
    expect(code).toBe(0);
  });
});

test('has nothing of the host that built it: the same bits from any directory, and no path', async () => {
  const images: Buffer[] = [];
  for (const name of ['a', 'b']) {
    const project = join(work, name, 'project');
    await mkdir(project, { recursive: true });
    await writeFile(join(project, 'ukl.config.json'), '{ "name": "sum", "program": "/usr/bin/sha256sum", "volumes": ["data:/data"], "args": ["/data/file"] }');
    const { code, stderr } = await host('sh', ['-c', `cd '${project}' && '${ukl}' build . -o sum.image`]);
    expect(code, stderr).toBe(0);
    images.push(await readFile(join(project, 'sum.image')));
  }
  const [a, b] = images;
  expect(a?.equals(b ?? Buffer.alloc(0))).toBe(true);
  for (const word of [work, projectRoot]) expect(a?.includes(Buffer.from(word)), word).toBe(false);
});

test('runs on another machine with what is beside it there', async () => {
  const elsewhere = join(work, 'elsewhere');
  await mkdir(join(elsewhere, 'data'), { recursive: true });
  await writeFile(join(elsewhere, 'data/file'), 'content\n');
  await copyFile(join(work, 'a/project/sum.image'), join(elsewhere, 'sum.image'));
  const { stdout } = await runGuest(join(elsewhere, 'sum.image'), { accel: 'tcg' });
  expect(stdout).toBe(`${createHash('sha256').update('content\n').digest('hex')}  /data/file\n`);
});

test('every byte of a large image arrives', async () => {
  const bytes = randomBytes(48 * 1024 ** 2);
  await writeFile(join(work, 'large'), bytes);
  for (const container of ['bzImage', 'elf'] as const) {
    const image = await build('/usr/bin/sha256sum', { container, out: imageOf('large'), files: [`${join(work, 'large')}:/large`] });
    // With little memory, the root is a ramfs: a tmpfs would be too small.
    for (const memory of ['256M', '176M']) {
      const { stdout, end } = await runGuest(image.path, { args: ['/large'], memory, accel: 'tcg' });
      expect(stdout, JSON.stringify(end)).toBe(`${createHash('sha256').update(bytes).digest('hex')}  /large\n`);
    }
  }
});

test('a damaged image is not run', async () => {
  const cut = join(work, 'cut');
  await copyFile(imageOf('bzImage'), cut);
  const file = await open(cut, 'r+');
  await file.truncate((await file.stat()).size - 100);
  await file.close();
  await expect(runGuest(cut)).rejects.toMatchObject({ code: 'UKL_NOT_ELF' });
});

test("the guest's clock is the host's, to the fraction of a second", async () => {
  const before = Date.now();
  const { stdout } = await runGuest('/bin/date', { args: ['+%s%3N'] });
  const there = Number(stdout);
  expect(there).toBeGreaterThanOrEqual(before);
  expect(there).toBeLessThanOrEqual(Date.now());
});
