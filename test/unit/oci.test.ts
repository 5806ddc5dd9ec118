// SPDX-License-Identifier: MIT
/** Container images without a guest: layers, users, entry points, and images that are wrong. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/lib/log.js';
import type { GuestFile } from '../../src/model/index.js';
import { getLayers, readContainer, rootOf } from '../../src/oci/container.js';
import { openSource } from '../../src/oci/open.js';
import { commandOf, findStart } from '../../src/oci/process.js';
import { findReference, parseReference, showReference } from '../../src/oci/reference.js';
import type { Tree } from '../../src/oci/tree.js';
import { resolveUser } from '../../src/oci/user.js';
import { type Entry, type Image, layerOf, sha256, writeLayout } from '../fixtures/container.js';

const context = { log: silentLog };
let work: string;
let count = 0;
const fresh = (): string => join(work, String(++count));
let store: string | undefined;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-oci-'));
  store = process.env.UKL_STORE;
  process.env.UKL_STORE = join(work, 'store');
});
afterAll(async () => {
  if (store === undefined) delete process.env.UKL_STORE;
  else process.env.UKL_STORE = store;
  await rm(work, { recursive: true, force: true });
});

async function treeAt(reference: string): Promise<Tree> {
  return rootOf(await getLayers(await readContainer(await openSource(parseReference(reference))), context));
}

async function treeOf(...layers: readonly (readonly Entry[])[]): Promise<Tree> {
  return treeAt(await writeLayout(fresh(), { layers: await Promise.all(layers.map((entries) => layerOf(...entries))) }));
}

const pathsOf = (tree: Tree): string[] => tree.files().map(({ guest }) => guest);
const at = (tree: Tree, guest: string): GuestFile | undefined => tree.files().find((file) => file.guest === guest);
async function textOf(tree: Tree, path: string): Promise<string> {
  const node = tree.find(path)?.node;
  return node?.kind === 'file' && node.host !== undefined ? readFile(node.host, 'utf8') : '';
}

describe('references', () => {
  test.each([
    ['oci:dir', 'layout', undefined],
    ['oci:a/b:1.0', 'layout', '1.0'],
    ['oci-archive:x.tar', 'oci-archive', undefined],
    ['docker-archive:/a/x.tar:name:tag', 'docker-archive', 'name:tag'],
    ['docker-archive:x.tar:localhost:5000/a/b:1', 'docker-archive', 'localhost:5000/a/b:1'],
    ['docker-archive:a:b/x.tar', 'docker-archive', undefined],
  ])('%s', (word, kind, tag) => expect(findReference(word)).toMatchObject({ kind, tag }));
  test.each([
    ['localhost/a', 'localhost', 'a', 'latest'],
    ['localhost:5000/a/b:v1', 'localhost:5000', 'a/b', 'v1'],
    ['docker://ghcr.io/x/y-z:1', 'ghcr.io', 'x/y-z', '1'],
    ['127.0.0.1:5000/a', '127.0.0.1:5000', 'a', 'latest'],
    [`r.example/a@sha256:${'0'.repeat(64)}`, 'r.example', 'a', 'latest'],
  ])('%s', (word, host, repository, tag) => expect(findReference(word)).toMatchObject({ kind: 'registry', host, repository, tag }));
  test.each(['examples/hello', './a.c', 'redis', 'redis:7', '/bin/ls', 'a/b:c', 'host.example/UPPER', 'oci:', 'r.example/a@sha256:00'])('%s is none', (word) =>
    expect(findReference(word)).toBeUndefined(),
  );
  test('are shown as they are read', () => {
    for (const word of ['oci-archive:/a/b.tar:x', 'localhost:5000/a/b:v1', `r.example/a@sha256:${'0'.repeat(64)}`])
      expect(showReference(parseReference(word))).toBe(word);
  });
});

describe('layers', () => {
  test('have owners, modes, links, and two names of one file', async () => {
    const tree = await treeOf([
      { name: './', type: 'directory', mode: 0o751 },
      { name: 'b', text: 'text', mode: 0o4755, uid: 7, gid: 70_000 },
      { name: 'c', type: 'link', linkname: 'b' },
      { name: 'd', type: 'symlink', linkname: '../../etc/shadow', uid: 5 },
      { name: 'e', type: 'character-device', devmajor: 1, devminor: 3, mode: 0o666 },
    ]);
    expect(at(tree, '/')).toMatchObject({ mode: 0o751 });
    expect(at(tree, '/b')).toMatchObject({ kind: 'file', mode: 0o4755, uid: 7, gid: 70_000 });
    expect(at(tree, '/c')).toEqual({ guest: '/c', kind: 'hardlink', target: '/b' });
    expect(at(tree, '/d')).toMatchObject({ kind: 'symlink', target: '../../etc/shadow', uid: 5 });
    expect(at(tree, '/e')).toMatchObject({ kind: 'device', major: 1, minor: 3 });
    expect(await textOf(tree, '/c')).toBe('text');
  });

  test('take away what whiteouts and opaque directories name, and nothing of their own', async () => {
    const tree = await treeOf(
      [
        { name: 'a/one', text: '1' },
        { name: 'a/two', text: '2' },
        { name: 'gone/deep/x', text: 'x' },
        { name: 'full/old', text: 'old' },
        { name: 'kept/x', text: 'x' },
      ],
      [
        { name: 'full/new', text: 'new' },
        { name: 'full/.wh..wh..opq' },
        { name: 'a/.wh.one' },
        { name: '.wh.gone' },
        { name: '.wh..wh.plnk', type: 'directory' },
        { name: 'kept/', type: 'directory', mode: 0o700 },
      ],
    );
    expect(pathsOf(tree)).toEqual(['/', '/a', '/a/two', '/full', '/full/new', '/kept', '/kept/x']);
    expect(at(tree, '/kept')).toMatchObject({ mode: 0o700 });
  });

  test('replace a file by a directory and the reverse, and write through links', async () => {
    const tree = await treeOf(
      [
        { name: 'usr/lib', type: 'directory' },
        { name: 'lib', type: 'symlink', linkname: 'usr/lib' },
        { name: 'x', text: 'file' },
        { name: 'y/z', text: 'z' },
      ],
      [
        { name: 'lib/new', text: 'n' },
        { name: 'x/', type: 'directory' },
        { name: 'y', text: 'file' },
      ],
    );
    expect(pathsOf(tree)).toEqual(['/', '/lib', '/usr', '/usr/lib', '/usr/lib/new', '/x', '/y']);
    expect([at(tree, '/x')?.kind, at(tree, '/y')?.kind]).toEqual(['directory', 'file']);
  });

  test('that are hostile stay below the root', async () => {
    const before = await readdir(work);
    const tree = await treeOf(
      [
        { name: '../../../escaped', text: 'x' },
        { name: '/absolute', text: 'x' },
        { name: 'out', type: 'symlink', linkname: `${work}/../..` },
        { name: 'up', type: 'symlink', linkname: '../../../..' },
      ],
      [{ name: 'out/in', text: 'x' }, { name: 'up/in', text: 'x' }, { name: `../..${work}/.wh.1` }, { name: 'a/../../../b', text: 'x' }],
    );
    expect(pathsOf(tree)).toEqual(expect.arrayContaining(['/escaped', '/absolute', '/in', '/b']));
    expect((await readdir(work)).filter((name) => !/^\d+$|^store$/.test(name))).toEqual(before.filter((name) => !/^\d+$|^store$/.test(name)));
  });

  test.each([
    ['a link that leads to itself', [{ name: 'a', type: 'symlink', linkname: 'a' } as const, { name: 'a/b', text: '' }], 'without an end'],
    [
      'a directory that is a file',
      [
        { name: 'a', text: '' },
        { name: 'a/b', text: '' },
      ],
      'is no directory',
    ],
    ['a hard link to nothing', [{ name: 'a', type: 'link', linkname: '/etc/shadow' } as const], 'which is not there'],
  ])('with %s are refused', async (_what, entries, message) => {
    await expect(treeOf(entries)).rejects.toMatchObject({ code: 'UKL_IMAGE', message: expect.stringContaining(message) });
  });

  test('come compressed by zstd and not at all', async () => {
    const layer = await layerOf({ name: 'a', text: 'text' });
    for (const compress of [(data: Buffer) => execFileSync('zstd', ['-c'], { input: data }), (data: Buffer) => data])
      expect(await textOf(await treeAt(await writeLayout(fresh(), { layers: [layer], compress })), '/a')).toBe('text');
  });

  test('lose what no initramfs holds, and say so', async () => {
    const layer = await layerOf({ name: 'pipe', type: 'fifo' }, { name: 'ping', text: 'x', pax: { 'SCHILY.xattr.security.capability': 'x' } });
    const image = await readContainer(await openSource(parseReference(await writeLayout(fresh(), { layers: [layer] }))));
    expect((await getLayers(image, context))[0]?.dropped).toEqual(['/pipe (fifo)', 'the capabilities of /ping']);
  });
});

describe('an image that is wrong', () => {
  const layer = (): Promise<Buffer> => layerOf({ name: 'a', text: 'x'.repeat(100_000) });
  const blobs = async (directory: string): Promise<string[]> => {
    const names = await readdir(join(directory, 'blobs/sha256'));
    return names.map((name) => join(directory, 'blobs/sha256', name));
  };
  const image = async (more: Partial<Image> = {}): Promise<string> => {
    const directory = fresh();
    await writeLayout(directory, { layers: [await layer()], compress: (data) => data, ...more });
    return directory;
  };
  const refused = async (reference: string, code: string, message: string): Promise<void> => {
    await expect(treeAt(reference)).rejects.toMatchObject({ code, message: expect.stringContaining(message), hint: expect.stringMatching(/./) });
  };

  test('in a bit of a layer leaves nothing in the store', async () => {
    const directory = await image({ layers: [await layerOf({ name: 'bits', text: 'y'.repeat(50_000) })] });
    for (const path of await blobs(directory)) {
      const data = await readFile(path);
      if (data.length < 40_000) continue;
      data[1000] = (data[1000] ?? 0) ^ 1;
      await writeFile(path, data);
    }
    const before = (await readdir(join(work, 'store'))).filter((name) => name.startsWith('layer-'));
    await refused(`oci:${directory}`, 'UKL_IMAGE', 'gave other bytes than sha256:');
    expect((await readdir(join(work, 'store'))).filter((name) => name.startsWith('layer-'))).toEqual(before);
  });
  test('in a manifest', async () => {
    const directory = await image();
    for (const path of await blobs(directory)) {
      const text = await readFile(path, 'latin1');
      if (text.includes('"layers":[{')) await writeFile(path, text.replace('"schemaVersion":2', '"schemaVersion":3'));
    }
    await refused(`oci:${directory}`, 'UKL_IMAGE', 'gave other bytes');
  });
  test('in the order of its layers', async () => {
    const directory = fresh();
    const layers = [await layerOf({ name: 'one' }), await layerOf({ name: 'two' })];
    await writeLayout(directory, { layers, compress: (data) => (data === layers[0] ? (layers[1] as Buffer) : (layers[0] as Buffer)) });
    await refused(`oci:${directory}`, 'UKL_IMAGE', 'are not those of its configuration');
  });
  test('for another machine', async () => {
    await refused(`oci:${await image({ architecture: 'arm64' })}`, 'UKL_WRONG_ARCH', 'linux/arm64; ukl runs linux/amd64');
    const index = (descriptor: object): object[] => [{ ...descriptor, platform: { os: 'linux', architecture: 'arm64' } }];
    await refused(`oci:${await image({ index: (one) => [...index(one), ...index(one)] })}:x`, 'UKL_NO_TARGET', 'has no image x');
  });
  test('with a layer that is not given out', async () => {
    await refused(`oci:${await image({ mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' })}`, 'UKL_IMAGE', 'do not give out');
  });
  test('that is half an archive', async () => {
    const directory = await image();
    const archive = join(work, 'half.tar');
    execFileSync('tar', ['-cf', archive, '-C', directory, '.']);
    await truncate(archive, 60_000);
    await refused(`oci-archive:${archive}`, 'UKL_IMAGE', 'not a whole one');
    await truncate(archive, 0);
    await refused(`oci-archive:${archive}`, 'UKL_IMAGE', 'half.tar');
    await writeFile(archive, 'no archive at all');
    await refused(`docker-archive:${archive}`, 'UKL_IMAGE', 'half.tar');
  });
  test('that is not there', async () => {
    await refused(`oci:${work}/none`, 'UKL_NO_TARGET', 'is no OCI image layout');
    await refused(`docker-archive:${work}/none.tar`, 'UKL_NO_TARGET', 'does not exist');
    await refused(`oci:${await image({ tag: 'one' })}:two`, 'UKL_NO_TARGET', 'has no image two');
  });
});

test('an index is searched for linux/amd64, through indexes', async () => {
  const directory = fresh();
  await writeLayout(directory, { layers: [await layerOf({ name: 'ours', text: 'x' })] });
  const { manifests } = JSON.parse(await readFile(join(directory, 'index.json'), 'utf8')) as {
    manifests: { digest: string; size: number; mediaType: string }[];
  };
  const [ours] = manifests;
  const nested = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        { mediaType: ours?.mediaType, digest: `sha256:${'0'.repeat(64)}`, size: 1, platform: { os: 'linux', architecture: 'arm64' } },
        { mediaType: ours?.mediaType, digest: ours?.digest, size: ours?.size, platform: { os: 'linux', architecture: 'amd64' } },
      ],
    }),
  );
  await writeFile(join(directory, 'blobs', sha256(nested).replace(':', '/')), nested);
  const entry = { mediaType: 'application/vnd.oci.image.index.v1+json', digest: sha256(nested), size: nested.length };
  await writeFile(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  expect(pathsOf(await treeAt(`oci:${directory}`))).toContain('/ours');
});

describe('users', () => {
  let tree: Tree;
  beforeAll(async () => {
    tree = await treeOf([
      { name: 'etc/passwd', text: 'root:x:0:0:root:/root:/bin/sh\nredis:x:999:998::/data:\nodd:x:5:6\n' },
      { name: 'etc/group', text: 'root:x:0:\nredis:x:998:\nextra:x:50:other,redis\nmore:x:51:redis\n' },
    ]);
  });
  test.each([
    ['', { uid: 0, gid: 0, groups: [0], home: '/root' }],
    ['redis', { uid: 999, gid: 998, groups: [998, 50, 51], home: '/data' }],
    ['999', { uid: 999, gid: 998, groups: [998, 50, 51], home: '/data' }],
    ['1234', { uid: 1234, gid: 0, groups: [0], home: '/' }],
    ['redis:extra', { uid: 999, gid: 50, groups: [50], home: '/data' }],
    ['7:8', { uid: 7, gid: 8, groups: [8], home: '/' }],
    ['odd', { uid: 5, gid: 6, groups: [6], home: '/' }],
  ])('%s', async (word, user) => expect(await resolveUser(tree, word)).toEqual(user));
  test.each(['nobody', 'redis:nobody', '-1', '4294967295', '1:4294967296'])('%s is refused', async (word) => {
    await expect(resolveUser(tree, word)).rejects.toMatchObject({ code: 'UKL_IMAGE', hint: expect.stringMatching(/./) });
  });
  test('of an image without accounts are numbers', async () => {
    const empty = await treeOf([{ name: 'x' }]);
    expect(await resolveUser(empty, '5')).toEqual({ uid: 5, gid: 0, groups: [0], home: '/' });
    await expect(resolveUser(empty, 'root')).rejects.toMatchObject({ code: 'UKL_IMAGE' });
  });
});

describe('what is started', () => {
  const config = (more: object): Parameters<typeof commandOf>[0] => ({
    architecture: 'amd64',
    os: 'linux',
    config: { ExposedPorts: [], Env: [], Entrypoint: [], Cmd: [], Labels: {}, Volumes: [], ...more },
    rootfs: { type: 'layers', diff_ids: [] },
  });
  test.each([
    [{ Cmd: ['a', 'b'] }, { words: [] }, { entrypoint: ['a'], args: ['b'] }],
    [{ Cmd: ['a', 'b'] }, { words: ['c', 'd'] }, { entrypoint: ['c'], args: ['d'] }],
    [{ Entrypoint: ['e', 'f'], Cmd: ['a'] }, { words: [] }, { entrypoint: ['e', 'f'], args: ['a'] }],
    [{ Entrypoint: ['e', 'f'], Cmd: ['a'] }, { words: ['c'] }, { entrypoint: ['e', 'f'], args: ['c'] }],
    [
      { Entrypoint: ['e'], Cmd: ['a'] },
      { entrypoint: 'g', words: [] },
      { entrypoint: ['g'], args: [] },
    ],
    [
      { Entrypoint: ['e'], Cmd: ['a'] },
      { entrypoint: 'g', words: ['h'] },
      { entrypoint: ['g'], args: ['h'] },
    ],
  ])('%j with %j', (said, given, command) => expect(commandOf(config(said), given)).toEqual(command));
  test('nothing is refused', () => {
    expect(() => commandOf(config({}), { words: [] })).toThrow(expect.objectContaining({ code: 'UKL_IMAGE' }));
  });

  const start = async (entrypoint: readonly string[], args: readonly string[] = []): Promise<object> => {
    const elf = await readFile('/bin/true');
    const tree = await treeOf([
      { name: 'usr/bin/server', data: elf, mode: 0o755 },
      { name: 'usr/bin/sh', data: elf, mode: 0o755 },
      { name: 'usr/bin/gosu', data: elf, mode: 0o755 },
      { name: 'usr/bin/env', data: elf, mode: 0o755 },
      { name: 'bin', type: 'symlink', linkname: 'usr/bin' },
      { name: 'usr/bin/linked', type: 'symlink', linkname: 'server' },
      { name: 'entry.sh', text: '#!/bin/sh -e\nexec "$@"\n', mode: 0o755 },
      { name: 'twice', text: '#!/entry.sh  two words \n', mode: 0o755 },
      { name: 'tool', text: '#!/usr/bin/env server\n', mode: 0o755 },
      { name: 'plain', text: 'no script', mode: 0o755 },
      { name: 'lost', text: '#!/bin/nothing\n', mode: 0o755 },
      { name: 'unexecutable', data: elf },
      { name: 'lib64', type: 'directory' },
      { name: 'lib64/ld-linux-x86-64.so.2', text: 'x' },
    ]);
    return findStart(tree, { entrypoint, args }, '/bin:/usr/bin', '/');
  };
  test('a program in PATH, by the name that it was called', async () => {
    expect(await start(['linked', '-x'])).toMatchObject({ program: { path: '/usr/bin/server' }, command: ['linked', '-x'], args: [], starts: [] });
  });
  test('a script by its interpreter, with the programs that it hands over to', async () => {
    expect(await start(['/entry.sh'], ['server', '--port', '1'])).toMatchObject({
      program: { path: '/usr/bin/sh' },
      command: ['/bin/sh', '-e', '/entry.sh'],
      args: ['server', '--port', '1'],
      starts: ['/usr/bin/server', '/usr/bin/gosu', '/usr/bin/env'],
    });
  });
  test('a script by a path that is relative, as it was said', async () => {
    expect(await start(['./entry.sh'])).toMatchObject({ command: ['/bin/sh', '-e', './entry.sh'] });
  });
  test('a script of a script, as the kernel has its words', async () => {
    expect(await start(['/twice', 'x'])).toMatchObject({ command: ['/bin/sh', '-e', '/entry.sh', 'two words', '/twice', 'x'] });
  });
  test('a script of env', async () => {
    expect(await start(['/tool'])).toMatchObject({
      program: { path: '/usr/bin/env' },
      command: ['/usr/bin/env', 'server', '/tool'],
      starts: expect.arrayContaining(['/usr/bin/server']),
    });
  });
  test.each([
    ['missing', 'UKL_NO_FILE'],
    ['/unexecutable', 'UKL_NO_FILE'],
    ['/plain', 'UKL_NOT_ELF'],
    ['/lost', 'UKL_NOT_ELF'],
  ])('%s is refused', async (word, code) => {
    await expect(start([word])).rejects.toMatchObject({ code, hint: '--entrypoint PROGRAM' });
  });
  test('a program for a C library that the image lacks is refused', async () => {
    const tree = await treeOf([{ name: 'p', data: await readFile('/bin/true'), mode: 0o755 }]);
    await expect(findStart(tree, { entrypoint: ['/p'], args: [] }, '', '/')).rejects.toMatchObject({ code: 'UKL_MISSING_LIBRARY' });
  });
});
