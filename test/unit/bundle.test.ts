// SPDX-License-Identifier: MIT
/** Containers as engines describe them, and what of that a machine becomes. */
import { spawnSync } from 'node:child_process';
import { chmod, link, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { groupOf } from '../../src/bundle/cgroup.js';
import { runHooks } from '../../src/bundle/hooks.js';
import { linksFrom, nameServersIn } from '../../src/bundle/network.js';
import { planOf } from '../../src/bundle/plan.js';
import { signalOf } from '../../src/bundle/process.js';
import { claim, containers, identify, Place, readRecord, release, statusOf, writeRecord } from '../../src/bundle/record.js';
import { readRoot, sortCovers } from '../../src/bundle/rootfs.js';
import { type BundleConfig, bundleConfig, readBundle } from '../../src/bundle/spec.js';
import { parseNic } from '../../src/devices/nic.js';
import { splitVolume } from '../../src/devices/volume.js';
import { encodeRequest, encodeTerminal } from '../../src/guest/spec.js';

let work: string;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-bundle-'));
  process.env.XDG_STATE_HOME = work;
});
afterEach(async () => {
  delete process.env.XDG_STATE_HOME;
  await rm(work, { recursive: true });
});

const config = (more: object = {}): BundleConfig =>
  bundleConfig.parse({ ociVersion: '1.0.2', process: { args: ['server', '-v'], cwd: '/srv' }, root: { path: 'rootfs' }, ...more });
const plan = (more: object = {}) => planOf(config(more), '/bundle', '0123456789abcdef');

describe("a container's machine", () => {
  test('has its process, its name and its root', () => {
    const process = {
      terminal: true,
      consoleSize: { height: 50, width: 100 },
      user: { uid: 5, gid: 6, additionalGids: [6, 7] },
      args: ['a'],
      env: ['A=b=c'],
      cwd: '/',
    };
    expect(plan({ process, hostname: 'box' })).toMatchObject({
      root: '/bundle/rootfs',
      name: 'box',
      hostname: 'box',
      program: { args: ['a'], env: { A: 'b=c' }, user: { uid: 5, gid: 6, groups: [7] }, terminal: { rows: 50, columns: 100 } },
      sandbox: false,
      memory: undefined,
      cpus: undefined,
    });
    expect(plan()).toMatchObject({ name: '0123456789ab', hostname: undefined, program: { user: { uid: 0, gid: 0, groups: [] }, terminal: undefined } });
  });

  test.each([
    [undefined, { kind: 'host' }],
    [[{ type: 'network' }], { kind: 'new' }],
    [[{ type: 'pid' }, { type: 'network', path: '/run/netns/x' }], { kind: 'path', path: '/run/netns/x' }],
  ])('is in the network of %j', (namespaces, network) => {
    expect(plan({ linux: { namespaces } }).network).toEqual(network);
  });

  test('shares directories, packs files, and has the file systems of its kernel', () => {
    const mounts = [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev/shm', type: 'bind', source: '/x', options: ['bind'] },
      { destination: '/sys/fs/cgroup', type: 'cgroup' },
      { destination: '/data', type: 'bind', source: '/host', options: ['rbind', 'ro'] },
      { destination: '/rel', source: 'here', options: ['bind'] },
      { destination: '/run', type: 'tmpfs', options: ['mode=755'] },
    ];
    expect(plan({ mounts }).covers).toEqual([
      { kind: 'bind', source: '/host', path: '/data', readonly: true },
      { kind: 'bind', source: '/bundle/here', path: '/rel', readonly: false },
      { kind: 'empty', path: '/run', mode: 0o755 },
    ]);
  });

  test('is as large as its limits, unless an annotation says otherwise', () => {
    const resources = { memory: { limit: 268435456 }, cpu: { quota: 150_000, period: 100_000 } };
    expect(plan({ linux: { resources } })).toMatchObject({ memory: '262144K', cpus: 2 });
    expect(plan({ linux: { resources }, annotations: { 'ukl.memory': '1G', 'ukl.cpus': '4' } })).toMatchObject({ memory: '1G', cpus: 4 });
    expect(plan({ linux: { resources: { memory: { limit: -1 }, cpu: { quota: -1 } } } })).toMatchObject({ memory: undefined, cpus: undefined });
  });

  test('is none for what stands for a pod', () => {
    expect(plan({ annotations: { 'io.kubernetes.cri.container-type': 'sandbox' } }).sandbox).toBe(true);
    expect(plan({ annotations: { 'io.kubernetes.cri-o.ContainerType': 'container' } }).sandbox).toBe(false);
    const pauses = (args: string[]) => plan({ process: { args, cwd: '/' } }).sandbox;
    expect(pauses(['/catatonit', '-P'])).toBe(true);
    expect(pauses(['/catatonit', '--', 'server'])).toBe(false);
    expect(pauses(['/catatonit', '-P', 'x'])).toBe(false);
  });

  test('takes annotations of ours', () => {
    expect(plan({ annotations: { 'ukl.ring': '3', 'ukl.ring0': '/a,/b', 'ukl.publish': '8080:80', other: 'x' } })).toMatchObject({
      ring: 3,
      ring0: ['/a', '/b'],
      ports: ['8080:80'],
    });
    expect(plan({ annotations: { 'com.urunc.unikernel.binary': '/unikernel' } }).unikernel).toBe('/unikernel');
  });

  test.each([
    ['ukl.ring', '1', /'1': expected 0 or 3/],
    ['ukl.rings', '3', /has no meaning/],
    ['ukl.cpus', '65', /expected 1 to 64/],
    ['ukl.memory', 'much', /ukl.memory is 'much'/],
    ['ukl.publish', 'http', /expected a port/],
    ['ukl.ring0', 'relative', /absolute/],
  ])('refuses %s=%s', (name, value, message) => {
    expect(() => plan({ annotations: { [name]: value } })).toThrow(message);
  });

  test('has no ports of this host in a network of its own', () => {
    expect(() => plan({ annotations: { 'ukl.publish': '8080:80' }, linux: { namespaces: [{ type: 'network' }] } })).toThrow(/host's network/);
  });
});

describe('a bundle', () => {
  test.each([
    [undefined, /ENOENT/],
    ['{', /no JSON/],
    ['{"ociVersion":"1.0.0","root":{"path":"r"}}', /process/],
    ['{"ociVersion":"1.0.0","process":{"args":[],"cwd":"/"},"root":{"path":"r"}}', /process.args: nothing to start/],
    ['{"ociVersion":"2.0.0","process":{"args":["x"],"cwd":"/"},"root":{"path":"r"}}', /version 2.0.0/],
  ])('with %s is refused', async (text, message) => {
    if (text !== undefined) await writeFile(join(work, 'config.json'), text);
    await expect(readBundle(work)).rejects.toThrow(message);
  });

  test('becomes a tree: links, owners, devices; what mounts cover is covered', async () => {
    const root = join(work, 'rootfs');
    await mkdir(join(root, 'etc'), { recursive: true });
    await mkdir(join(root, 'run/old'), { recursive: true });
    await writeFile(join(root, 'one'), 'x', { mode: 0o640 });
    await link(join(root, 'one'), join(root, 'two'));
    await symlink('/one', join(root, 'etc/link'));
    spawnSync('mkfifo', [join(root, 'pipe')]);
    const hosts = join(work, 'hosts');
    await writeFile(hosts, 'h');
    const { packed, shared, left } = await sortCovers([
      { kind: 'bind', source: hosts, path: '/etc/hosts', readonly: false },
      { kind: 'bind', source: work, path: '/data', readonly: true },
      { kind: 'bind', source: join(root, 'pipe'), path: '/pipe2', readonly: false },
      { kind: 'empty', path: '/run', mode: 0o755 },
    ]);
    expect([shared.map(({ path }) => path), left]).toEqual([['/data'], ['/pipe2']]);
    const files = (await readRoot(root, packed)).files();
    expect(files.map(({ guest, kind }) => `${guest} ${kind}`)).toEqual([
      '/ directory',
      '/etc directory',
      '/etc/hosts file',
      '/etc/link symlink',
      '/one file',
      '/run directory',
      '/two hardlink',
    ]);
    expect(files.find(({ guest }) => guest === '/etc/hosts')).toMatchObject({ host: hosts });
    expect(files.find(({ guest }) => guest === '/one')).toMatchObject({ mode: 0o640, uid: process.getuid?.() });
  });

  test('whose mount has no source, or whose root is a file, is refused', async () => {
    await expect(sortCovers([{ kind: 'bind', source: join(work, 'gone'), path: '/x', readonly: false }])).rejects.toThrow(/cannot be had/);
    await writeFile(join(work, 'file'), '');
    await expect(readRoot(join(work, 'file'), [])).rejects.toThrow(/no directory/);
  });
});

describe("a container's record", () => {
  test('is made once, and tells the truth about processes', async () => {
    await writeFile(join(work, 'config.json'), JSON.stringify(config()));
    const place = new Place(join(work, 'root'), 'one');
    await expect(readRecord(place)).rejects.toThrow(/container one does not exist/);
    const claims = await Promise.allSettled([claim(place, work, config()), claim(place, work, config())]);
    expect(claims.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const made = await readRecord(place);
    expect(statusOf(made)).toBe('creating');
    const self = identify(process.pid);
    expect(statusOf({ ...made, process: self })).toBe('created');
    expect(statusOf({ ...made, process: self, state: 'paused' })).toBe('paused');
    // The number is another process's by now.
    expect(statusOf({ ...made, process: { ...self, began: '1' } })).toBe('stopped');
    expect(statusOf({ ...made, creator: { ...self, began: '1' } })).toBe('stopped');
    await writeRecord(place, { ...made, process: self, state: 'running' });
    expect((await containers(place.root)).map((one) => [one.id, statusOf(one)])).toEqual([['one', 'running']]);
    await release(place);
    expect(await containers(place.root)).toEqual([]);
  });

  test('is not believed where others can write', async () => {
    await writeFile(join(work, 'config.json'), JSON.stringify(config()));
    const place = new Place(join(work, 'root'), 'one');
    await claim(place, work, config());
    await chmod(place.root, 0o777);
    await expect(readRecord(place)).rejects.toThrow(/others than this user can write/);
    await expect(claim(new Place(place.root, 'two'), work, config())).rejects.toThrow(/others than this user can write/);
    expect(await containers(place.root)).toEqual([]);
  });

  test.each(['', '.', '..', '../up', 'a/b', '-flag', 'a b'])("has no name like '%s'", (id) => {
    expect(() => new Place(work, id)).toThrow(/no name of a container/);
  });
});

describe('the network of a name space', () => {
  const eth0 = {
    ifname: 'eth0',
    link_type: 'ether',
    address: '32:c1:d7:cc:08:d8',
    mtu: 1450,
    addr_info: [
      { family: 'inet', local: '10.88.0.2', prefixlen: 16, scope: 'global' },
      { family: 'inet6', local: 'fe80::1', prefixlen: 64, scope: 'link' },
      { family: 'inet6', local: '2001:db8::2', prefixlen: 64, scope: 'global' },
    ],
  };
  const lo = {
    ifname: 'lo',
    link_type: 'loopback',
    address: '00:00:00:00:00:00',
    mtu: 65536,
    addr_info: [{ local: '127.0.0.1', prefixlen: 8, scope: 'host' }],
  };

  test('becomes the guest’s', () => {
    const routes = [
      { dst: 'default', gateway: '10.88.0.1', dev: 'eth0' },
      { dst: 'default', gateway: '10.0.0.1', dev: 'eth1' },
      { dst: 'default', dev: 'eth0' },
    ];
    expect(linksFrom([lo, eth0, { ...eth0, ifname: 'ukl0', addr_info: [] }], routes)).toEqual([
      {
        name: 'eth0',
        mac: '32:c1:d7:cc:08:d8',
        mtu: 1450,
        network: { addresses: ['10.88.0.2/16', '2001:db8::2/64'], gateways: ['10.88.0.1'], dns: [] },
      },
    ]);
    expect(linksFrom([lo], [])).toEqual([]);
    expect(() => linksFrom('?', [])).toThrow(/ukl does not know/);
  });

  test('has name servers that a guest can reach', () => {
    expect(nameServersIn('search x\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver 2001:db8::1\n# nameserver 1.1.1.1\n')).toEqual([
      '10.0.0.1',
      '2001:db8::1',
    ]);
  });
});

test.each([
  ['/libpod_parent/x', '/libpod_parent/x'],
  ['user-1.slice:libpod:abc', '/user.slice/user-1.slice/libpod-abc.scope'],
  ['../../etc', '/etc'],
])('the control group %s is %s', (path, group) => {
  expect(groupOf(path)).toBe(group);
});

test('signals by name and number', () => {
  expect(['9', 'KILL', 'sigkill', 'Term'].map(signalOf)).toEqual(['SIGKILL', 'SIGKILL', 'SIGKILL', 'SIGTERM']);
  for (const wrong of ['0', '99', 'NOTHING', '']) expect(() => signalOf(wrong)).toThrow(/is no signal/);
});

test('hooks get the state, one after the other; one that fails or takes too long is told of', async () => {
  const file = join(work, 'seen');
  const hook = (line: string, timeout?: number) => ({ path: '/bin/sh', args: ['hook', '-c', line], env: [`FILE=${file}`, 'PATH=/bin:/usr/bin'], timeout });
  await runHooks([hook('cat > $FILE'), hook('grep -q \'"id":"one"\' $FILE')], 'poststart', { id: 'one' });
  await expect(runHooks([hook('echo why >&2; exit 3')], 'prestart', {})).rejects.toThrow(/prestart hook \/bin\/sh failed: status 3: why/);
  await expect(runHooks([hook('exec sleep 1000', 0.05)], 'prestart', {})).rejects.toThrow(/it took longer than 0.05 s/);
  // A process that it leaves behind keeps nobody waiting, and one that is late goes with its own.
  await runHooks([hook('sleep 1000 & echo $! > $FILE')], 'poststart', {});
  process.kill(Number(await readFile(file, 'utf8')));
  await expect(runHooks([hook('sleep 1000 & echo why >&2; wait', 0.05)], 'prestart', {})).rejects.toThrow(/took longer than 0.05 s/);
  await expect(runHooks([{ path: join(work, 'none'), env: [] }], 'prestart', {})).rejects.toThrow(/ENOENT/);
});

test('volumes that are only read, TAP devices with a hardware address, terminals, users of sessions', () => {
  expect(splitVolume('/a:/b:ro')).toEqual({ directory: '/a', path: '/b', readonly: true });
  expect(splitVolume('/a:/b')).toEqual({ directory: '/a', path: '/b' });
  expect(() => splitVolume('/a:ro')).toThrow(/expected a volume/);
  expect(() => parseNic('tap:x,mac=1', [], 'tcg')).toThrow(/no TAP device/);
  expect(() => parseNic('tap:x,mtu=60', [], 'tcg')).toThrow(/no TAP device/);
  expect(encodeTerminal({ rows: 24, columns: 80 })).toBe(24 * 65536 + 80);
  expect(encodeRequest({ argv: ['a'], user: { uid: 1, gid: 2, groups: [3, 4] }, terminal: { rows: 1, columns: 2 } }).toString()).toBe(
    'cwd\0\0arg\0a\0terminal\x0065538\0user\x001:2:3,4\0',
  );
});
