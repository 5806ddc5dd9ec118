// SPDX-License-Identifier: MIT
/**
 * Disks and CDs with the profile "server", which boot by BIOS. UEFI, and the
 * hardware of other machines: `npx tsx test/machines/run.ts`.
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UklError } from '../../src/lib/errors.js';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { build } from '../../src/sdk/index.js';
import { bareQemu, host, runGuest, ukl } from './harness.js';

const HELLO = join(projectRoot, 'examples/hello');
const SAYS = /^Hello from ring 0 of Linux 6\.12\.\d+\n$/;

let work: string;
const file = (name: string): string => join(work, name);
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-media-'));
  for (const container of ['disk', 'iso'] as const) await build(HELLO, { profile: 'server', container, out: file(container) });
});
afterAll(() => rm(work, { recursive: true, force: true }));

describe('a disk', () => {
  test.each([
    ['pc', 'ide'],
    ['pc', 'virtio'],
    ['q35', 'virtio'],
    ['q35', 'ahci'],
  ] as const)('boots on a %s from %s, with streams and status', async (machine, diskBus) => {
    const { stdout, end } = await runGuest(file('disk'), { accel: 'tcg', machine, diskBus });
    expect(stdout).toMatch(SAYS);
    expect(end).toEqual({ kind: 'exit', status: 0 });
  });

  test('boots by itself, where nobody has channels for it', async () => {
    const { stdout } = await bareQemu(120, 'q35', ['-m', '256', '-drive', `if=virtio,format=raw,snapshot=on,file=${file('disk')}`]);
    expect(stdout).toMatch(/Hello from ring 0 of Linux 6\.12\.\d+\r\n/);
  });

  test('has the same bits each time, and a table that sfdisk takes', async () => {
    await build(HELLO, { profile: 'server', container: 'disk', out: file('again') });
    const [first, second] = await Promise.all(
      ['disk', 'again'].map(async (name) =>
        createHash('sha256')
          .update(await readFile(file(name)))
          .digest('hex'),
      ),
    );
    expect(first).toBe(second);
    const { stdout, code } = await host('/sbin/sfdisk', ['--verify', file('disk')]);
    expect(code, stdout).toBe(0);
    expect(stdout).toContain('No errors detected');
  });

  test.each(['qcow2', 'vmdk', 'vhd'] as const)('converted to %s, boots', async (container) => {
    await build(HELLO, { profile: 'server', container, out: file(container) });
    expect((await runGuest(file(container), { accel: 'tcg' })).stdout).toMatch(SAYS);
  });

  test('a VHD is whole megabytes and a footer, as Azure wants it', async () => {
    expect(((await readFile(file('vhd'))).length - 512) % 2 ** 20).toBe(0);
  });

  test('in an OVA has a descriptor first, and sums that are right', async () => {
    await build(HELLO, { profile: 'server', container: 'ova', out: file('ova') });
    await exec('tar', ['-x', '-f', file('ova'), '-C', work]);
    expect((await exec('tar', ['-t', '-f', file('ova')])).split('\n')).toEqual(['image.ovf', 'image.mf', 'disk.vmdk']);
    const sums = [...(await readFile(file('image.mf'), 'utf8')).matchAll(/^SHA256\((.*)\)= ([0-9a-f]{64})$/gm)];
    expect(sums).toHaveLength(2);
    for (const [, name = '', sum] of sums)
      expect(
        createHash('sha256')
          .update(await readFile(file(name)))
          .digest('hex'),
      ).toBe(sum);
  });
});

describe('a CD', () => {
  test.each([
    ['pc', undefined],
    ['q35', undefined],
    ['q35', 'usb'],
  ] as const)('boots on a %s (%s)', async (machine, diskBus) => {
    const { stdout } = await runGuest(file('iso'), { accel: 'tcg', machine, ...(diskBus === undefined ? {} : { diskBus }) });
    expect(stdout).toMatch(SAYS);
  });
});

describe('a signature', () => {
  const keys = async (name: string): Promise<void> =>
    void (await exec('openssl', [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', `/CN=${name}`],
      ...['-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)],
    ]));
  beforeAll(async () => {
    await keys('one');
    await keys('two');
  });

  test('is on what UEFI starts, and sbverify takes it for its key only', async () => {
    await build(HELLO, { profile: 'server', container: 'uki', out: file('uki'), key: file('one.key'), cert: file('one.crt') });
    expect((await host('sbverify', ['--cert', file('one.crt'), file('uki')])).code).toBe(0);
    expect((await host('sbverify', ['--cert', file('two.crt'), file('uki')])).code).not.toBe(0);
  });

  test.each([
    [['--key', 'one.key'], 'a key and its certificate sign together'],
    [['--key', 'one.key', '--cert', 'two.crt'], 'they are not a pair'],
    [['--key', 'one.key', '--cert', 'missing.crt'], 'missing.crt does not exist'],
  ])('%j is refused', async (flags, message) => {
    const words = flags.map((word) => (word.startsWith('--') ? word : file(word)));
    const { code, stderr } = await host(ukl, ['build', HELLO, '--profile', 'server', '--container', 'uki', '-o', file('refused'), ...words]);
    expect(stderr).toContain(message);
    expect(code).not.toBe(0);
  });
});

test.each([
  [{ updates: 'runs:30' }, 'disk', 'server', "a kernel of the profile 'server' has no kexec"],
  [{ root: 'disk' }, 'disk', 'server', "a kernel of the profile 'server' has no dm-verity"],
  [{}, 'update', 'hardware', 'an update is for a disk that was built to take some'],
  [{ updates: 'now and then' }, 'disk', 'hardware', 'runs:SECONDS or says:SECONDS'],
  [{ updates: 'runs:3601' }, 'disk', 'hardware', 'up to 3600'],
] as const)('%j with a %s and the profile %s is refused', async (more, container, profile, message) => {
  const config = { name: 'refused', program: '/bin/true', ...more };
  const error: unknown = await build(config, { profile, container, out: file('refused') }).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(UklError);
  expect(`${String(error)} ${error instanceof UklError ? error.details : ''}`).toContain(message);
});

test.each([
  [['--firmware', 'uefi'], 'disk', 'QEMU cannot start a microvm with uefi', ['--machine', 'microvm']],
  [['--disk-bus', 'ide'], 'disk', 'a q35 has no ide for disks', []],
  [['--nic', 'e1000', '--machine', 'microvm'], 'image', 'a microvm takes no e1000', []],
  [['--kernel-arg', 'quiet'], 'disk', '--kernel-arg cannot add to them', []],
  [['--machine', 'q36'], 'disk', 'Allowed choices are microvm, q35, pc. Did you mean q35?', []],
  [['--nic', 'e1000', '--machine', 'q35'], 'image', 'lacks a driver for e1000 (CONFIG_E1000)', []],
  [['--attach', '/dev/null:nvme', '--machine', 'q35'], 'image', 'lacks a driver for disks by nvme (CONFIG_BLK_DEV_NVME)', []],
])('%j is refused, by name', async (flags, what, message, more) => {
  if (what === 'image') await build(HELLO, { profile: 'server', container: 'elf', out: file('image') });
  const { code, stderr } = await host(ukl, ['run', file(what), '--accel', 'tcg', ...flags, ...more]);
  expect(stderr).toContain(message);
  expect(code).not.toBe(0);
});

test('a medium whose notes are not beside it is not taken for a program', async () => {
  await copyFile(file('disk'), file('alone'));
  const { code, stderr } = await host(ukl, ['run', file('alone')]);
  expect(stderr).toContain('alone is neither');
  expect(code).not.toBe(0);
  await writeFile(file('alone.host.json'), '{}');
  expect((await host(ukl, ['run', file('alone')])).code).not.toBe(0);
});

test('a medium beside the notes of another build of the same size is told from it', async () => {
  await copyFile(file('disk'), file('other'));
  await copyFile(file('disk.host.json'), file('other.host.json'));
  const handle = await open(file('other'), 'r+');
  // Of the GUID in the partition table's head.
  await handle.write(Buffer.from([0xff]), 0, 1, 512 + 56);
  await handle.close();
  const { code, stderr } = await host(ukl, ['run', file('other')]);
  expect(stderr).toContain('is not the medium that');
  expect(stderr).toContain('--container disk -o');
  expect(code).not.toBe(0);
});

test('nothing is written in place of a device', async () => {
  await expect(build(HELLO, { profile: 'server', container: 'disk', out: '/dev/null' })).rejects.toThrow('/dev/null is a device');
});
