// SPDX-License-Identifier: MIT
/** Pushing and pulling: a registry that asks, refuses, lies or is cut off, and archives. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { pull, push } from '../../src/image/transfer.js';
import { layerOf, writeLayout } from '../fixtures/container.js';
import { type Manner, type Registry, startRegistry } from '../fixtures/registry.js';

let work: string;
let layout: string;
const saved = { ...process.env };
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-registry-'));
  process.env.UKL_STORE = join(work, 'store');
  process.env.REGISTRY_AUTH_FILE = join(work, 'auth.json');
  layout = await writeLayout(join(work, 'layout'), {
    layers: [await layerOf({ name: 'a', text: 'x'.repeat(300_000) }), await layerOf({ name: 'b', text: 'y' })],
    compress: (layer) => layer,
  });
});
afterEach(async () => {
  await rm(join(work, 'auth.json'), { force: true });
  await rm(join(work, 'store'), { recursive: true, force: true });
});
afterAll(async () => {
  for (const name of ['UKL_STORE', 'REGISTRY_AUTH_FILE']) {
    if (saved[name] === undefined) delete process.env[name];
    else process.env[name] = saved[name];
  }
  await rm(work, { recursive: true, force: true });
});

const logIn = (host: string, user: string): Promise<void> =>
  writeFile(join(work, 'auth.json'), JSON.stringify({ auths: { [host]: { auth: Buffer.from(user).toString('base64') }, 'other.example': { auth: 'bm8=' } } }));

const layersInStore = async (): Promise<string[]> => (await readdir(join(work, 'store')).catch(() => [])).filter((name) => name.startsWith('layer-'));

async function filled(manner: Manner = {}): Promise<Registry> {
  const registry = await startRegistry(manner);
  if (manner.auth !== undefined) await logIn(registry.host, manner.auth.user);
  await push(layout, `${registry.host}/a/b:1`);
  registry.asked.length = 0;
  return registry;
}

describe('a registry', () => {
  test('has after a push what was pushed, with its lengths, and is not sent it twice', async () => {
    await using registry = await startRegistry();
    const { digest } = await push(layout, `${registry.host}/a/b:1`);
    expect([...registry.blobs.keys()].sort()).toEqual([...(await readdir(join(work, 'layout/blobs/sha256'))).map((name) => `sha256:${name}`), '1'].sort());
    const puts = registry.asked.filter(({ line }) => line.startsWith('PUT'));
    expect(puts.map(({ length }) => Number(length))).toEqual([...registry.blobs].filter(([key]) => key !== '1').map(([, { data }]) => data.length));
    registry.asked.length = 0;
    expect((await push(layout, `${registry.host}/a/b:2`)).digest).toBe(digest);
    expect(registry.asked.map(({ line }) => line).filter((line) => !line.startsWith('HEAD'))).toEqual(['PUT /v2/a/b/manifests/2']);
  });

  test('is pulled from by tag and by digest, into the store and into a layout', async () => {
    await using registry = await filled();
    const { digest } = await pull(`${registry.host}/a/b:1`);
    expect(await layersInStore()).toHaveLength(2);
    const out = join(work, 'pulled');
    expect(await pull(`${registry.host}/a/b@${digest}`, { out })).toEqual({ digest, file: out, unikernel: false });
    expect((await readdir(join(out, 'blobs/sha256'))).sort()).toEqual((await readdir(join(work, 'layout/blobs/sha256'))).sort());
    const archive = join(work, 'pulled.tar');
    await pull(`${registry.host}/a/b:1`, { out: archive });
    expect((await pull(`oci-archive:${archive}`)).digest).toBe(digest);
  });

  test.each(['basic', 'bearer'] as const)('that asks who comes, by %s, is told so', async (kind) => {
    await using registry = await filled({ auth: { kind, user: 'me:secret:word' } });
    await pull(`${registry.host}/a/b:1`);
    const basic = `Basic ${Buffer.from('me:secret:word').toString('base64')}`;
    expect(registry.asked[0]).toMatchObject({ line: 'GET /v2/a/b/manifests/1', authorization: undefined });
    const scope = Buffer.from('repository:a/b:pull').toString('base64url');
    expect(new Set(registry.asked.map(({ line, authorization }) => (line === 'GET /token' ? `token ${authorization}` : authorization)))).toEqual(
      new Set(kind === 'basic' ? [undefined, basic] : [undefined, `token ${basic}`, `Bearer ${scope}`]),
    );
  });

  test.each([
    ['who does not log in', 'basic', undefined],
    ['who does not log in', 'bearer', undefined],
    ['who has another password', 'basic', 'me:wrong'],
    ['who has another password', 'bearer', 'me:wrong'],
  ] as const)('refuses one %s (%s), with a hint', async (_who, kind, user) => {
    await using registry = await filled({ auth: { kind, user: 'me:secret' } });
    await rm(join(work, 'auth.json'));
    if (user !== undefined) await logIn(registry.host, user);
    await expect(pull(`${registry.host}/a/b:1`)).rejects.toMatchObject({
      code: 'UKL_REGISTRY',
      hint: expect.stringContaining(`podman login ${registry.host}`),
    });
  });

  test('that wants the password sent elsewhere without TLS is not sent it', async () => {
    await using registry = await startRegistry({ auth: { kind: 'bearer', user: 'me:secret', realm: 'http://tokens.example/token' } });
    await logIn(registry.host, 'me:secret');
    await expect(pull(`${registry.host}/a/b:1`)).rejects.toMatchObject({ code: 'UKL_REGISTRY', message: expect.stringContaining('without TLS') });
    expect(registry.asked.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  test('that has its blobs elsewhere is followed, without telling that place who comes', async () => {
    await using store = await startRegistry();
    await push(layout, `${store.host}/a/b:1`);
    store.asked.length = 0;
    await using registry = await filled({
      auth: { kind: 'basic', user: 'me:secret' },
      blobsAt: (digest) => `http://localhost:${store.host.split(':')[1]}/v2/a/b/blobs/${digest}`,
    });
    await pull(`${registry.host}/a/b:1`);
    expect(store.asked.map(({ authorization }) => authorization)).toEqual([undefined, undefined, undefined]);
  });

  const wrong = (data: Buffer): Buffer => Buffer.concat([data.subarray(0, -1), Buffer.from([(data.at(-1) ?? 0) ^ 1])]);
  test.each([
    [
      'other bytes for a layer',
      (path: string, data: Buffer) => (data.length > 100_000 && path.includes('blobs') ? wrong(data) : undefined),
      'UKL_IMAGE',
      'gave other bytes',
    ],
    ['more bytes for a layer', (_path: string, data: Buffer) => (data.length > 100_000 ? Buffer.concat([data, data]) : undefined), 'UKL_IMAGE', 'more than'],
    ['half of a layer', (_path: string, data: Buffer) => (data.length > 100_000 ? 'cut' : undefined), 'UKL_REGISTRY', 'was cut off'],
    ['a failure', (path: string) => (path.includes('blobs') ? 500 : undefined), 'UKL_REGISTRY', 'status 500'],
    ['too many', (path: string) => (path.includes('manifests') ? 429 : undefined), 'UKL_REGISTRY', 'status 429'],
    ['no JSON', (path: string) => (path.includes('manifests') ? Buffer.from('<html>') : undefined), 'UKL_IMAGE', 'is no JSON'],
  ] as const)('that gives %s is refused, and nothing is kept', async (_what, lie, code, message) => {
    await using registry = await filled({ lie });
    const out = join(work, 'refused');
    for (const options of [{}, { out }, { out: `${out}.tar` }]) {
      await expect(pull(`${registry.host}/a/b:1`, options)).rejects.toMatchObject({
        code,
        message: expect.stringContaining(message),
        hint: expect.stringMatching(/./),
      });
    }
    expect(await layersInStore()).toEqual([]);
    expect((await readdir(work)).filter((name) => name.startsWith('refused'))).toEqual([]);
  });

  test('that gives another manifest than the digest that was asked for is refused', async () => {
    await using registry = await filled({ lie: (path, data) => (path.includes('manifests/sha256') ? Buffer.concat([data, Buffer.from(' ')]) : undefined) });
    const { digest } = await pull(`${registry.host}/a/b:1`);
    await expect(pull(`${registry.host}/a/b@${digest}`)).rejects.toMatchObject({ code: 'UKL_IMAGE', message: expect.stringContaining('gave other bytes') });
  });

  test('without the image, or that is not there at all, says so', async () => {
    const registry = await filled();
    await expect(pull(`${registry.host}/a/b:none`)).rejects.toMatchObject({ code: 'UKL_NO_TARGET' });
    const { host } = registry;
    await registry[Symbol.asyncDispose]();
    await expect(pull(`${host}/a/b`)).rejects.toMatchObject({ code: 'UKL_REGISTRY', message: expect.stringContaining('cannot be reached') });
  });

  test('whose pull is interrupted leaves nothing', async () => {
    const controller = new AbortController();
    await using registry = await filled({
      lie: (path) => {
        if (path.includes('blobs')) controller.abort('SIGINT');
        return undefined;
      },
    });
    const out = join(work, 'interrupted');
    await expect(pull(`${registry.host}/a/b:1`, { out, signal: controller.signal })).rejects.toBe('SIGINT');
    expect(existsSync(out)).toBe(false);
  });
});

describe('credentials', () => {
  test('are those of the longest name that fits', async () => {
    await using registry = await startRegistry({ auth: { kind: 'basic', user: 'right:one' } });
    const auth = (user: string): { auth: string } => ({ auth: Buffer.from(user).toString('base64') });
    const auths = {
      [`https://${registry.host}/v2/`]: auth('wrong:host'),
      [`${registry.host}/a`]: auth('right:one'),
      [`${registry.host}/a/bc`]: auth('wrong:longer'),
    };
    await writeFile(join(work, 'auth.json'), JSON.stringify({ auths }));
    await push(layout, `${registry.host}/a/b:1`);
  });
  test('in a damaged file are said to be damaged', async () => {
    await using registry = await startRegistry({ auth: { kind: 'basic', user: 'a:b' } });
    await writeFile(join(work, 'auth.json'), '{"auths":');
    await expect(pull(`${registry.host}/a`)).rejects.toMatchObject({ code: 'UKL_CONFIG', hint: expect.stringContaining('auth.json') });
  });
});

describe('archives and layouts', () => {
  test('have the same image wherever it went', async () => {
    const places = ['oci', 'oci-archive', 'docker-archive'].map((kind) => `${kind}:${join(work, `copy-${kind}`)}`);
    const [first = '', second = '', third = ''] = places;
    const { digest } = await push(layout, `${first}:v1`);
    expect((await push(`${first}:v1`, second)).digest).toBe(digest);
    await push(second, `${third}:name:v1`);
    // What docker save writes has no manifest: one is made again, and the layers are the same.
    const back = `oci:${join(work, 'back')}`;
    await push(third, back);
    const layersOf = async (directory: string): Promise<string[]> => {
      const blobs = join(work, directory, 'blobs/sha256');
      const found: string[] = [];
      for (const name of await readdir(blobs)) if ((await readFile(join(blobs, name))).subarray(257, 262).toString() === 'ustar') found.push(name);
      return found.sort();
    };
    expect(await layersOf('back')).toEqual(await layersOf('layout'));
  });

  test('that are there already take another image, and keep theirs', async () => {
    const directory = join(work, 'two');
    await push(layout, `oci:${directory}:one`);
    const other = await writeLayout(join(work, 'other'), { layers: [await layerOf({ name: 'c', text: 'z' })] });
    await push(other, `oci:${directory}:two`);
    await push(other, `oci:${directory}:two`);
    const { manifests } = JSON.parse(await readFile(join(directory, 'index.json'), 'utf8')) as { manifests: { annotations: object }[] };
    expect(manifests.map(({ annotations }) => Object.values(annotations))).toEqual([['one'], ['two']]);
    await expect(pull(`oci:${directory}`)).rejects.toMatchObject({ code: 'UKL_NO_TARGET', hint: expect.stringContaining('one, two') });
  });

  test('that cannot be written are refused, and nothing is left', async () => {
    await mkdir(join(work, 'full'));
    await expect(push(layout, `oci-archive:${work}/none/x.tar`)).rejects.toMatchObject({ code: 'UKL_USAGE', hint: `mkdir -p ${work}/none` });
    await expect(push(layout, 'a word')).rejects.toMatchObject({ code: 'UKL_USAGE' });
    await expect(push(layout, `r.example/a@sha256:${'0'.repeat(64)}`)).rejects.toMatchObject({ code: 'UKL_USAGE' });
  });
});
