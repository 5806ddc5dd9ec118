// SPDX-License-Identifier: MIT
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isElf, readElf } from '../../src/elf/elf.js';
import { encodeSpec } from '../../src/guest/spec.js';
import { canonicalGuestPath, writeInitramfs } from '../../src/image/initramfs.js';
import { packFile } from '../../src/packing/files.js';
import { resolveLibraries } from '../../src/packing/libraries.js';

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-image-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

describe('ELF', () => {
  test('agrees with readelf', async () => {
    const elf = await readElf('/bin/bash');
    const text = execFileSync('readelf', ['-W', '-h', '-l', '/bin/bash'], { encoding: 'utf8' });
    expect(elf.entry).toBe(BigInt(/Entry point address:\s+(\S+)/.exec(text)?.[1] ?? '0'));
    expect(elf.interpreter).toBe(/interpreter: ([^\]]+)\]/.exec(text)?.[1]);
    const loads = [...text.matchAll(/^ {2}LOAD +(\S+) (\S+) \S+ (\S+) (\S+)/gm)];
    expect(elf.segments).toEqual(loads.map(([, offset, address, size]) => ({ offset: Number(offset), address: Number(address), fileSize: Number(size) })));
    expect(elf.loadBytes).toBe(loads.reduce((sum, [, , , , size]) => sum + Number(size), 0));
  });
  test('libraries are those that ldd lists', async () => {
    const expected = [...execFileSync('ldd', ['/bin/bash'], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]);
    // and what glibc opens by itself
    expected.push('/lib/x86_64-linux-gnu/libgcc_s.so.1');
    expect((await resolveLibraries('/bin/bash')).sort()).toEqual(expected.sort());
  });
  test('truncated and foreign files are refused', async () => {
    await writeFile(join(work, 'short'), Buffer.from('\x7fELF\x02\x01', 'latin1'));
    await expect(readElf(join(work, 'short'))).rejects.toMatchObject({ code: 'UKL_NOT_ELF' });
    await writeFile(join(work, 'text'), 'hello');
    expect(await isElf(join(work, 'text'))).toBe(false);
    await expect(readElf(join(work, 'none'))).rejects.toMatchObject({ code: 'UKL_NO_TARGET' });
  });
});

describe('initramfs', () => {
  test('cpio reads what we write', async () => {
    await mkdir(join(work, 'tree/sub'), { recursive: true });
    await writeFile(join(work, 'tree/sub/file'), 'odd length');
    await chmod(join(work, 'tree/sub/file'), 0o640);
    await symlink('sub/file', join(work, 'tree/link'));
    const files = await packFile(`${join(work, 'tree')}:/opt/tree`, '/');
    const first = await writeInitramfs(join(work, 'one.cpio'), files);
    const second = await writeInitramfs(join(work, 'two.cpio'), files);
    expect(second.sha256).toBe(first.sha256);
    const archive = await readFile(first.path);
    expect(archive.length).toBe(first.bytes);
    const listing = execFileSync('cpio', ['-itv', '--quiet'], { input: archive, encoding: 'utf8' });
    expect(listing).toMatch(/^-rw-r----- .* 10 .*opt\/tree\/sub\/file$/m);
    expect(listing).toMatch(/^lrwxrwxrwx .*opt\/tree\/link -> sub\/file$/m);
    expect(listing).toMatch(/^drwxrwxrwt .* tmp$/m);
    const content = execFileSync('cpio', ['-i', '--quiet', '--to-stdout', 'opt/tree/sub/file'], { input: archive, encoding: 'utf8' });
    expect(content).toBe('odd length');
    expect(first.files.find((file) => file.path === '/opt/tree/sub/file')?.bytes).toBe(10);
  });
  test.each([
    ['/lib/x/libc.so.6', '/usr/lib/x/libc.so.6'],
    ['/bin/sh', '/usr/bin/sh'],
    ['/lib64/ld.so', '/usr/lib64/ld.so'],
    ['/library/x', '/library/x'],
    ['/a/../b', '/b'],
  ])('%s is %s', (path, expected) => expect(canonicalGuestPath(path)).toBe(expected));
  test('a link that the merged /usr makes a link to itself leaves the file alone', async () => {
    const { files } = await writeInitramfs(join(work, 'link.cpio'), [
      { guest: '/usr/bin/tool', kind: 'data', data: Buffer.from('x'), mode: 0o755 },
      { guest: '/bin/tool', kind: 'symlink', target: '/usr/bin/tool' },
    ]);
    expect(files.map((file) => file.path)).toContain('/usr/bin/tool');
  });
  test('a missing --file is told', async () => {
    await expect(packFile('/no/such:/x', '/')).rejects.toMatchObject({ code: 'UKL_NO_FILE' });
    await expect(packFile('/etc/hosts:relative', '/')).rejects.toMatchObject({ code: 'UKL_USAGE' });
  });
});

test('the spec is words that end in NUL', () => {
  const words = encodeSpec({
    exec: '/app',
    argv: ['app', ''],
    hostname: 'h',
    fixed: 1,
    networks: [{ addresses: ['10.0.2.15/24'], gateways: ['10.0.2.2'], dns: ['10.0.2.3', '1.1.1.1'] }],
    disks: [{ serial: 's', path: '/d' }],
    volumes: [{ tag: 't', path: '/v' }],
    data: [],
    ring: 0,
    run: { env: { A: 'b=c', PATH: '/p' }, cwd: '/' },
  })
    .toString()
    .split('\0');
  expect(words).toEqual([
    'host',
    'h',
    'exec',
    '/app',
    'cwd',
    '/',
    'arg',
    'app',
    'arg',
    '',
    'env',
    'PATH=/p',
    'env',
    'HOME=/root',
    'env',
    'A=b=c',
    'fixed',
    '1',
    'address',
    '10.0.2.15/24',
    'gateway',
    '10.0.2.2',
    'dns',
    '10.0.2.3',
    'dns',
    '1.1.1.1',
    'disk',
    's:/d',
    'volume',
    't:/v',
    '',
  ]);
});
