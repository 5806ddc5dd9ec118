// SPDX-License-Identifier: MIT
/** The OCI runtime as an engine calls it, on bundles made by hand. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { build } from '../../src/sdk/index.js';
import { type CommandResult, host, Sink } from './harness.js';

const runtime = join(projectRoot, 'ukl-oci');
let work: string;
const oci = (...words: string[]): Promise<CommandResult> => host(runtime, ['--root', join(work, 'root'), ...words]);

/** A bundle whose program is the fixture. */
async function bundle(
  name: string,
  args: readonly string[],
  more: { readonly process?: object; readonly linux?: object } & Record<string, unknown> = {},
): Promise<string> {
  const directory = join(work, name);
  await mkdir(join(directory, 'rootfs/bin'), { recursive: true });
  await exec('cp', [join(work, 'bundled'), join(directory, 'rootfs/bin/bundled')]);
  const { process, ...rest } = more;
  const config = {
    ociVersion: '1.0.2',
    process: { args: ['bundled', ...args], env: ['PATH=/bin', 'GREETING=hi'], cwd: '/made/here', user: { uid: 0, gid: 0 }, ...process },
    root: { path: 'rootfs' },
    hostname: name,
    linux: { namespaces: [{ type: 'network' }] },
    ...rest,
  };
  await writeFile(join(directory, 'config.json'), JSON.stringify(config));
  return directory;
}

interface Created {
  readonly code: number | null;
  /** What the container's process printed, from then on. */
  readonly out: Sink;
  readonly pid: number;
}

/** `create`, whose streams are the container's. */
async function create(id: string, directory: string, ...words: string[]): Promise<Created> {
  const pidFile = join(work, `${id}.pid`);
  const out = new Sink();
  const child: ChildProcess = spawn(runtime, ['--root', join(work, 'root'), 'create', '--bundle', directory, '--pid-file', pidFile, ...words, id], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout, child.stderr]) stream?.pipe(out, { end: false });
  child.stdout?.once('end', () => out.over('the container ended'));
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { code, out, pid: Number(await readFile(pidFile, 'utf8').catch(() => '0')) };
}

const statusOf = async (id: string): Promise<string> => (JSON.parse((await oci('state', id)).stdout) as { status: string }).status;

/** Settles when there is no such process any more. */
async function ended(pid: number): Promise<void> {
  await exec('tail', [`--pid=${pid}`, '-f', '/dev/null']);
}

beforeAll(async () => {
  // The launcher compiles the tool if a source is newer, and says so.
  await host(runtime, ['features']);
  work = await mkdtemp(join(tmpdir(), 'ukl-bundle-'));
  await exec('gcc', ['-O1', '-static', '-o', join(work, 'bundled'), join(projectRoot, 'test/fixtures/bundled.c')]);
  await exec('gcc', ['-O1', '-o', join(work, 'console'), join(projectRoot, 'test/fixtures/console.c')]);
});
afterAll(async () => {
  for (const id of (await oci('list', '-q')).stdout.split('\n').filter(Boolean)) await oci('delete', '--force', id);
  await rm(work, { recursive: true, force: true });
});

describe('a container of the OCI runtime', () => {
  test('waits, boots in ring 0, has its hooks run and further programs in it, is signalled and forgotten', async () => {
    const shared = join(work, 'shared');
    await mkdir(shared);
    await writeFile(join(shared, 'file'), 'shared\n');
    await writeFile(join(work, 'hosts'), '127.0.0.1 packed\n');
    const seen = join(work, 'hooks');
    const hook = (name: string): object[] => [
      { path: '/bin/sh', args: ['sh', '-c', `echo ${name} $(grep -o '"status":"[a-z]*"') >> ${seen}`], env: ['PATH=/usr/bin:/bin'] },
    ];
    const directory = await bundle('one', ['wait'], {
      process: { user: { uid: 1000, gid: 1001, additionalGids: [50] } },
      mounts: [
        { destination: '/data', type: 'bind', source: shared, options: ['rbind', 'ro'] },
        { destination: '/etc/hosts', type: 'bind', source: join(work, 'hosts'), options: ['bind'] },
      ],
      hooks: Object.fromEntries(['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'].map((name) => [name, hook(name)])),
    });
    const { code, out, pid } = await create('one', directory);
    expect([code, await statusOf('one'), out.text()]).toEqual([0, 'created', '']);
    const twice = await oci('create', '--bundle', directory, 'one');
    expect([twice.code, twice.stderr]).toEqual([1, expect.stringContaining('container one already exists')]);
    expect((await oci('exec', 'one', 'bundled')).stderr).toContain('container not running: one is created');
    const early = await oci('delete', 'one');
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining('only one that has stopped can be deleted')]);

    expect(await oci('start', 'one')).toMatchObject({ code: 0 });
    await out.until(/ring 0 on one as 1000:1001 in \/made\/here, GREETING hi, no terminal\n/);
    expect((await oci('start', 'one')).stderr).toContain('started already');
    expect(JSON.parse((await oci('state', 'one')).stdout)).toMatchObject({ ociVersion: '1.1.0', id: 'one', status: 'running', pid, bundle: directory });
    const other = await oci('exec', '--user', '7:8', '--cwd', '/', '-e', 'GREETING=you', 'one', 'bundled', 'show', '/data/file', '/etc/hosts');
    expect([other.code, other.stderr]).toEqual([5, 'shown\n']);
    expect(other.stdout).toBe('ring 3 on one as 7:8 in /, GREETING you, no terminal\nshared\nPermission denied\n127.0.0.1 packed\nPermission denied\n');
    const root = await oci('exec', '--user', '0:0', 'one', 'bundled', 'show', '/data/file', '/etc/hosts');
    expect(root.stdout).toMatch(/shared\nRead-only file system\n127.0.0.1 packed\ncan be written\n$/);
    const processes = JSON.parse((await oci('ps', '-f', 'json', 'one')).stdout) as number[];
    expect(processes[0]).toBe(pid);
    expect(processes).toHaveLength(2);

    await oci('kill', 'one', 'TERM');
    await out.until(/terminated/);
    await Promise.all(processes.map(ended));
    expect(await statusOf('one')).toBe('stopped');
    expect((await oci('kill', 'one', 'KILL')).stderr).toContain('container not running');
    expect(await oci('kill', '--all', 'one', 'KILL')).toMatchObject({ code: 0 });
    expect(await oci('delete', 'one')).toMatchObject({ code: 0 });
    expect((await oci('state', 'one')).stderr).toContain('container one does not exist');
    expect(await oci('delete', '--force', 'one')).toMatchObject({ code: 0 });
    const created = ['prestart', 'createRuntime', 'createContainer'].map((name) => `${name} "status":"creating"`);
    expect((await readFile(seen, 'utf8')).trimEnd().split('\n')).toEqual([
      ...created,
      'startContainer "status":"created"',
      'poststart "status":"running"',
      'poststop "status":"stopped"',
    ]);
  });

  test('has a terminal, the network of its name space, and ring 3 by an annotation; killed, it leaves no machine', async () => {
    const space = `ukl-test-${process.pid}`;
    const [outside, address] = [`ukl${process.pid % 100000}`, '198.51.100.2'];
    await exec('ip', ['netns', 'add', space]);
    try {
      await exec('ip', ['link', 'add', outside, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space]);
      await exec('ip', ['address', 'add', '198.51.100.1/24', 'dev', outside]);
      await exec('ip', ['link', 'set', outside, 'up']);
      for (const words of [`address add ${address}/24 dev eth0`, 'link set eth0 up', 'route add default via 198.51.100.1'])
        await exec('ip', ['-n', space, ...words.split(' ')]);
      const directory = await bundle('two', ['wait', '80'], {
        process: { terminal: true, consoleSize: { height: 40, width: 120 } },
        linux: { namespaces: [{ type: 'network', path: `/run/netns/${space}` }] },
        annotations: { 'ukl.ring': '3' },
      });
      expect((await create('two', directory)).out.text()).toContain('--console-socket');
      const socket = join(work, 'console.sock');
      const engine = spawn(join(work, 'console'), [socket], { stdio: ['pipe', 'pipe', 'inherit'] });
      const terminal = new Sink();
      engine.stdout.pipe(terminal);
      await terminal.until(/listening/);
      const { pid } = await create('two', directory, '--console-socket', socket);
      expect(await oci('start', 'two')).toMatchObject({ code: 0 });
      await terminal.until(/ring 3 on two as 0:0 in \/made\/here, GREETING hi, a terminal\r\n40 by 120\r\n/);
      engine.stdin.write('typed\r');
      await terminal.until(/heard typed\r\n/);
      engine.kill('SIGUSR1');
      await terminal.until(/33 by 99/);
      expect(await text(connect({ host: address, port: 80 }))).toBe('hello from the guest\n');
      const other = await bundle('three', ['wait'], { linux: { namespaces: [{ type: 'network', path: `/run/netns/${space}` }] } });
      await create('three', other);
      expect((await oci('start', 'three')).stderr).toContain('another guest has the network');

      const processes = JSON.parse((await oci('ps', '-f', 'json', 'two')).stdout) as number[];
      process.kill(pid, 'SIGKILL');
      await Promise.all(processes.map(ended));
      expect(await statusOf('two')).toBe('stopped');
      for (const id of ['two', 'three']) expect(await oci('delete', id)).toMatchObject({ code: 0 });
      engine.kill();
    } finally {
      await exec('ip', ['netns', 'delete', space]);
    }
  });

  test('is a unikernel that its root file system carries', async () => {
    const directory = await bundle('four', ['wait'], { annotations: { 'com.urunc.unikernel.binary': '/unikernel' } });
    const program = join(work, 'bundled');
    await build(program, { out: join(directory, 'rootfs/unikernel') });
    expect((await create('four', directory)).out.text()).toContain(`is a unikernel and starts ${program}, not bundled wait`);
    await writeFile(
      join(directory, 'config.json'),
      (await readFile(join(directory, 'config.json'), 'utf8')).replace('"bundled"', JSON.stringify(program)).replace('/made/here', '/'),
    );
    const { code, out } = await create('four', directory);
    expect([code, out.text()]).toEqual([0, '']);
    expect(await oci('start', 'four')).toMatchObject({ code: 0 });
    await out.until(/ring 0 on four as 0:0 in \/, GREETING hi, no terminal\n/);
    expect(await oci('delete', '--force', 'four')).toMatchObject({ code: 0 });
    await writeFile(join(directory, 'rootfs/unikernel'), 'of another maker');
    expect((await create('four', directory)).out.text()).toContain('is not an image that ukl has built');
  });

  test('that cannot be made leaves nothing', async () => {
    const directory = await bundle('five', ['wait'], { annotations: { 'ukl.ring': '2' } });
    const log = join(work, 'log');
    const wrong = await oci('--log', log, '--log-format', 'json', 'create', '--bundle', directory, 'five');
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining("ukl.ring is '2': expected 0 or 3")]);
    expect(JSON.parse(await readFile(log, 'utf8'))).toMatchObject({ level: 'error', msg: expect.stringContaining('ukl.ring') });
    expect((await oci('create', '--bundle', work, 'five')).stderr).toContain('config.json cannot be read');
    const failing = await bundle('six', ['wait'], { hooks: { createRuntime: [{ path: '/bin/false' }] } });
    expect((await create('six', failing)).out.text()).toContain('createRuntime hook /bin/false failed: status 1');
    expect((await create('seven', await bundle('seven', [], { process: { args: ['none'] } }))).out.text()).toContain('no program none');
    expect((await oci('start', 'seven')).stderr).toContain('does not exist');
    expect((await oci('list', '-q')).stdout).toBe('');
  });
});
