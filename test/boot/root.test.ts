// SPDX-License-Identifier: MIT
/** `ukl=` names files of the root file system too, where that is a disk and not an initramfs. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { getKernel } from '../../src/kernels/kernel.js';
import { kernelSpec } from '../../src/kernels/lines.js';
import { silentLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { getCompiler } from '../../src/libc/compiler.js';
import { hostTscKhz } from '../../src/run/cmdline.js';
import { bareQemu } from './harness.js';

const run = promisify(execFile);
const source = join(projectRoot, 'test/fixtures/root/init.c');
const libraries = ['lib/libc.so.6', 'lib64/ld-linux-x86-64.so.2'];
let work: string;

/** A disk of the given directory's files. */
async function makeDisk(name: string): Promise<string> {
  const disk = join(work, `${name}.img`);
  await run('mkfs.ext4', ['-q', '-d', join(work, name), disk, '32M']);
  return disk;
}

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-root-'));
  const { bin, lib } = await getCompiler('complete', { log: silentLog });
  for (const name of ['static', 'dynamic']) {
    for (const directory of ['sbin', 'dev', 'lib', 'lib64']) await mkdir(join(work, name, directory), { recursive: true });
    await run(join(bin, 'ukl-gcc'), ['-O2', ...(name === 'static' ? ['-static'] : ['-Wl,-rpath,/lib']), '-o', join(work, name, 'sbin/init'), source]);
  }
  for (const file of libraries) await run('cp', [join(lib, file.replace(/.*\//, '')), join(work, 'dynamic', file)]);
});
afterAll(() => rm(work, { recursive: true, force: true }));

const khz = hostTscKhz(readFileSync('/proc/cpuinfo', 'utf8'));

/** What the machine says on its console. */
async function boot(name: 'static' | 'dynamic', named: readonly string[]): Promise<string> {
  const { bzImage } = await getKernel(kernelSpec('ukl'), { log: silentLog });
  const { stdout } = await bareQemu(120, 'microvm,rtc=on', [
    ...['-m', '128', '-global', 'virtio-mmio.force-legacy=false'],
    ...['-drive', `if=none,id=root,format=raw,file=${await makeDisk(name)}`, '-device', 'virtio-blk-device,drive=root'],
    ...['-kernel', bzImage],
    ...['-append', `console=ttyS0 root=/dev/vda rw init=/sbin/init reboot=t panic=-1 tsc_early_khz=${khz} ukl=${named.join(',')}`],
  ]);
  return stdout.replaceAll('\r', '');
}

test('root: a static program on a disk runs in ring 0, and its file cannot be written', async () => {
  const said = await boot('static', ['/sbin/init']);
  expect(said).toContain('ukl: /sbin/init: runs in ring 0');
  expect(said).toContain('init: ring 0\nwrite: Text file busy\nchild: ring 0\n');
});

test('root: a dynamic one does if its libraries are named as well', async () => {
  const said = await boot('dynamic', ['/sbin/init', ...libraries.map((file) => `/${file}`)]);
  expect(said).toContain('init: ring 0\nwrite: Text file busy\nchild: ring 0\n');
  const without = await boot('dynamic', ['/sbin/init']);
  expect(without).not.toContain('init: ring 0');
});

test('root: a name that is not there is said, and the machine goes on', async () => {
  const said = await boot('static', ['/sbin/missing']);
  expect(said).toContain('ukl: /sbin/missing: stays in ring 3 (error -2)');
  expect(said).toContain('init: ring 3\n');
});
