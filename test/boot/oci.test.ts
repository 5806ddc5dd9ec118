// SPDX-License-Identifier: MIT
/** Container images as unikernels. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exec } from '../../src/lib/exec.js';
import { hashFile } from '../../src/lib/hash.js';
import { LEASH } from '../../src/lib/leash.js';
import { projectRoot } from '../../src/lib/paths.js';
import { packFile } from '../../src/packing/files.js';
import { build, pull, push, run } from '../../src/sdk/index.js';
import { type Entry, entriesOf, layerOf, writeLayout } from '../fixtures/container.js';
import { freePort, host, runGuest, startGuest, ukl } from './harness.js';

let work: string;
let probe: Buffer;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-oci-'));
  await exec('gcc', ['-O1', '-static', '-o', join(work, 'contained'), join(projectRoot, 'test/fixtures/contained.c')]);
  probe = await readFile(join(work, 'contained'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

/** Files of this host, with what they need. */
async function packed(...words: readonly string[]): Promise<Entry[]> {
  return entriesOf((await Promise.all(words.map((word) => packFile(word, '/')))).flat());
}

const ACCOUNTS: readonly Entry[] = [
  { name: 'etc/passwd', text: 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:\n' },
  { name: 'etc/group', text: 'root:x:0:\napp:x:1001:\nmore:x:50:app\n' },
];

describe('a program in layers', () => {
  let image: string;
  beforeAll(async () => {
    const lower = await layerOf(
      { name: './', type: 'directory', mode: 0o711 },
      { name: 'bin/probe', data: probe, mode: 0o755 },
      ...ACCOUNTS,
      { name: 'gone', text: 'x' },
      { name: 'one', text: 'a'.repeat(40_000), uid: 3, gid: 4, mode: 0o640 },
      { name: 'two', type: 'link', linkname: 'one' },
      { name: 'link', type: 'symlink', linkname: '/one', uid: 8, gid: 9 },
    );
    const upper = await layerOf({ name: '.wh.gone' }, { name: 'usr/bin/probe', text: '', mode: 0o755 });
    image = await writeLayout(join(work, 'probe'), {
      layers: [lower, upper],
      config: { Entrypoint: ['probe', 'first'], Cmd: ['/one'], User: 'app', WorkingDir: '/made/here', Env: ['GREETING=hi', 'PATH=/bin:/usr/bin'] },
    });
  });

  test('finds its user, its files and its place, in ring 0', async () => {
    const { stdout, stderr, end } = await runGuest(image, { args: ['/', '/one', '/two', '/link', '/gone', '/made/here', '/usr/bin/probe'], status: 7 });
    expect(stdout.split('\n')).toEqual([
      'ring 0 on probe',
      'user 1000:1001 50 1001',
      'in /made/here, HOME /home/app, GREETING hi',
      'argv [probe] [first] [/] [/one] [/two] [/link] [/gone] [/made/here] [/usr/bin/probe]',
      '/dev/stderr opens',
      '/: 40711 0:0, 1 names, 0 bytes',
      '/one: 100640 3:4, 2 names, 40000 bytes',
      '/two: 100640 3:4, 2 names, 40000 bytes',
      '/link: 120777 8:9, 1 names, 0 bytes',
      '/gone: No such file or directory',
      '/made/here: 40755 0:0, 1 names, 0 bytes',
      '/usr/bin/probe: 100755 0:0, 1 names, 0 bytes',
      'CapPrm:\t0000000000000000',
      'CapAmb:\t0000000000000000',
      '',
    ]);
    expect(stderr).toBe('by name\n');
    expect(end).toEqual({ kind: 'exit', status: 7 });
  });

  test('has no capability in ring 3 either, and takes CMD from the image', async () => {
    const { stdout } = await runGuest(image, { ring: 3, status: 7 });
    expect(stdout).toMatch(/^ring 3 on probe\nuser 1000:1001 50 1001\n/);
    expect(stdout).toContain('argv [probe] [first] [/one]');
    expect(stdout).toMatch(/CapPrm:\t0+\nCapAmb:\t0+\n$/);
  });
});

test("a configuration's image has its arguments, variables and place", async () => {
  const layer = await layerOf({ name: 'bin/probe', data: probe, mode: 0o755 });
  const image = await writeLayout(join(work, 'configured'), { layers: [layer], config: { Cmd: ['probe', 'a'], Env: ['GREETING=hi'] } });
  const config = { name: 'configured', image, args: ['/bin/probe', 'b'], env: { GREETING: 'ho' }, cwd: '/bin' };
  await using vm = await run(config, { timeout: 120 });
  const chunks: Buffer[] = [];
  for await (const chunk of vm.stdout as AsyncIterable<Buffer>) chunks.push(chunk);
  expect(Buffer.concat(chunks).toString()).toMatch(/^ring 0 on configured\nuser 0:0 0\nin \/bin, HOME \/, GREETING ho\nargv \[\/bin\/probe\] \[b\]\n/);
});

describe('a script', () => {
  let image: string;
  beforeAll(async () => {
    const layer = await layerOf(
      ...(await packed('/bin/dash:/bin/sh', '/usr/bin/setpriv')),
      ...ACCOUNTS,
      { name: 'bin/probe', data: probe, mode: 0o755 },
      { name: 'entry.sh', text: '#!/bin/sh\necho "for $#"\n[ "$(id -u 2>/dev/null)" ] || exec "$@"\n', mode: 0o755 },
      { name: 'drop.sh', text: '#!/bin/sh -e\nexec setpriv --reuid=app --regid=app --clear-groups "$@"\n', mode: 0o755 },
    );
    image = await writeLayout(join(work, 'script'), { layers: [layer], config: { Entrypoint: ['/entry.sh'], Cmd: ['probe'] } });
  });

  test('that executes CMD leaves it in ring 0', async () => {
    const { stdout } = await runGuest(image, { status: 7 });
    expect(stdout).toMatch(/^for 1\nring 0 on script\nuser 0:0 0\nin \/, HOME \/root, GREETING \(null\)\nargv \[probe\]\n/);
  });

  test('that becomes another user on the way leaves it there too; --entrypoint is in its place', async () => {
    const { stdout } = await runGuest(image, { entrypoint: '/drop.sh', args: ['probe', 'x'], status: 7 });
    expect(stdout).toMatch(/^ring 0 on script\nuser 1000:1001\n/);
    expect(stdout).toContain('argv [probe] [x]');
  });
});

describe('a unikernel in a container image', () => {
  let file: string;
  let layout: string;
  beforeAll(async () => {
    file = join(work, 'probe.image');
    layout = join(work, 'probe.oci');
    const program = join(work, 'contained');
    await build(program, { out: file });
    await build(program, { container: 'oci', out: layout });
  });

  const digestAt = async (reference: string, ...flags: string[]): Promise<string> =>
    (JSON.parse(await exec('skopeo', ['inspect', ...flags, reference])) as { Digest: string }).Digest;

  test('has the same digest each time, in a layout and in an archive, and runs from there', async () => {
    const archive = join(work, 'probe.tar');
    await build(join(work, 'contained'), { container: 'oci', out: archive });
    const { digest } = await push(file, `oci:${join(work, 'pushed')}`);
    expect(await digestAt(`oci:${layout}:latest`)).toBe(digest);
    expect(await digestAt(`oci-archive:${archive}`)).toBe(digest);
    for (const reference of [`oci:${layout}`, `oci-archive:${archive}`]) {
      const { stdout } = await runGuest(reference, { args: ['a', '/'], status: 7 });
      expect(stdout).toMatch(/^ring 0 on contained\n/);
      expect(stdout).toContain(`argv [${join(work, 'contained')}] [a] [/]`);
    }
    await expect(build(`oci:${layout}`, { out: join(work, 'twice') })).rejects.toMatchObject({ code: 'UKL_USAGE', hint: expect.stringContaining('ukl run') });
  });

  test('says to urunc, in annotations and in a file, what to start', async () => {
    const { Labels } = JSON.parse(await exec('skopeo', ['inspect', `oci:${layout}:latest`])) as { Labels: Record<string, string> };
    await exec('umoci', ['unpack', '--image', `${layout}:latest`, join(work, 'bundle')]);
    const told = JSON.parse(await readFile(join(work, 'bundle/rootfs/urunc.json'), 'utf8')) as Record<string, string>;
    for (const [key, value] of Object.entries(told)) expect(Buffer.from(value, 'base64').toString()).toBe(Labels[key]);
    expect(Labels['com.urunc.unikernel.binary']).toBe('/unikernel');
    expect(await hashFile(join(work, 'bundle/rootfs/unikernel'))).toBe(await hashFile(file));
  });

  test("goes through Debian's registry and comes back the same, with skopeo on the other side", async () => {
    await using registry = await startDebianRegistry();
    const reference = `${registry.host}/test/probe:1`;
    const { digest } = await push(file, reference);
    expect(await digestAt(`docker://${reference}`, '--tls-verify=false')).toBe(digest);
    await exec('skopeo', ['copy', '--quiet', '--src-tls-verify=false', `docker://${reference}`, `oci:${join(work, 'copied')}:x`]);
    expect((await pull(`oci:${join(work, 'copied')}:x`, { out: join(work, 'from-skopeo') })).digest).toBe(digest);
    await exec('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}:latest`, `docker://${registry.host}/by/skopeo:1`]);
    const pulled = join(work, 'pulled.image');
    expect(await pull(`${registry.host}/by/skopeo:1`, { out: pulled })).toEqual({ digest, file: pulled, unikernel: true });
    for (const name of ['from-skopeo', 'pulled.image']) expect(await hashFile(join(work, name))).toBe(await hashFile(file));
    expect((await runGuest(reference, { status: 7 })).stdout).toMatch(/^ring 0 on contained\n/);
  });

  /** Debian's package docker-registry, on a port of the loopback interface. */
  async function startDebianRegistry(): Promise<AsyncDisposable & { readonly host: string }> {
    const host = `127.0.0.1:${await freePort()}`;
    const config = join(work, 'registry.yml');
    await writeFile(
      config,
      `version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: ${join(work, 'registry')}}}\nhttp: {addr: '${host}'}\n`,
    );
    const [leash, ...words] = LEASH;
    const server = spawn(leash, [...words, 'docker-registry', 'serve', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    const closed = once(server, 'close');
    await new Promise<void>((resolve, reject) => {
      const look = (chunk: Buffer): void => void (chunk.includes('listening on') && resolve());
      server.stdout.on('data', look);
      server.stderr.on('data', look);
      server.once('close', () => reject(new Error('docker-registry ended')));
    });
    return {
      host,
      async [Symbol.asyncDispose]() {
        server.kill();
        await closed;
      },
    };
  }
});

describe("Debian's redis, in an image that podman could run", () => {
  let image: string;
  beforeAll(async () => {
    const layer = await layerOf(
      ...(await packed('/usr/bin/redis-server:/usr/bin/redis-server')),
      { name: 'etc/passwd', text: 'redis:x:999:998::/data:\n' },
      { name: 'data', type: 'directory', uid: 999, gid: 998, mode: 0o700 },
    );
    const config = { User: 'redis', WorkingDir: '/data', Volumes: { '/data': {} }, ExposedPorts: { '6379/tcp': {} }, StopSignal: 'SIGINT' };
    const layout = await writeLayout(join(work, 'redis'), { layers: [layer], config: { ...config, Cmd: ['redis-server', '--protected-mode', 'no'] } });
    image = `docker-archive:${join(work, 'redis.tar')}`;
    await exec('skopeo', ['copy', '--quiet', layout, `${image}:redis:7`]);
  });

  test('serves, and keeps its data on a disk that is new', async () => {
    const disk = `${join(work, 'data.ext4')}:/data`;
    for (const before of ['', 'value']) {
      const port = await freePort();
      await using guest = await startGuest(image, { ports: [`${port}:6379`], disks: [disk] });
      await guest.listening(6379);
      const cli = async (...words: string[]): Promise<string> => (await host('redis-cli', ['-p', String(port), ...words])).stdout.trim();
      expect(await cli('get', 'key')).toBe(before);
      expect(await cli('set', 'key', 'value')).toBe('OK');
      guest.signal('SIGTERM');
      expect((await guest.result).end).toEqual({ kind: 'exit', status: 0 });
      expect(guest.stdout.text()).toContain('DB saved on disk');
    }
  });

  test('is stopped by its own signal where it goes on by itself', async () => {
    const port = await freePort();
    const cli = async (...words: string[]): Promise<string> => {
      const { stdout, stderr, code } = await host(ukl, words);
      expect(code, stderr).toBe(0);
      return stdout;
    };
    await cli('run', '-d', '--name', 'contained-redis', image, '-p', `${port}:6379`);
    try {
      await cli('stop', '-t', '60', 'contained-redis');
      expect(await cli('logs', 'contained-redis')).toMatch(/Received SIGINT/);
    } finally {
      await cli('rm', '-f', 'contained-redis');
    }
  });

  test('says in its image what it listens on', async () => {
    const file = join(work, 'redis.image');
    expect((await host(ukl, ['build', image, '-o', file])).stderr).not.toContain('✖');
    const { stdout } = await host(ukl, ['inspect', file]);
    expect(stdout).toContain('exposes    6379/tcp');
    expect(stdout).toContain('user       999:998');
    expect(stdout).toContain('starts     redis-server --protected-mode no');
  });
});

test.each([
  [['run', 'oci:/nowhere'], 'is no OCI image layout', 125],
  [['run', 'examples/hello', '--entrypoint', 'x'], 'is no container image', 2],
])('%j is refused', async (words, message, status) => {
  const { code, stderr } = await host(
    ukl,
    words.map((word) => (word.startsWith('examples/') ? join(projectRoot, word) : word)),
  );
  expect(stderr).toContain(message);
  expect(stderr).toContain('next:');
  expect(code).toBe(status);
});
