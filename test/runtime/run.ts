// SPDX-License-Identifier: MIT
/**
 * Containers of podman and of containerd as unikernels: `npx tsx test/runtime/run.ts`,
 * as root. Installs what it needs, keeps images and state in a directory of its own,
 * and writes docs/notes/runtime.md.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensurePackages } from '../../src/host/requirements.js';
import { asUklError } from '../../src/lib/errors.js';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { makeScratch } from '../../src/lib/scratch.js';
import { build, createLog } from '../../src/sdk/index.js';

const RUNTIME = join(projectRoot, 'ukl-oci');
const COMMAND_MS = 120_000;
const log = createLog();

await ensurePackages(log, [
  { package: 'podman', why: 'the first engine', file: '/usr/bin/podman' },
  { package: 'containerd', why: 'the second engine', file: '/usr/bin/containerd' },
  { package: 'busybox-static', why: 'the containers are of it', file: '/bin/busybox' },
  { package: 'iproute2', why: 'networks', file: '/sbin/tc' },
  { package: 'curl', why: 'asks servers', file: '/usr/bin/curl' },
]);
await using scratch = await makeScratch('engines');
const work = scratch.path;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command with its output; it is ended if it hangs. */
function command(words: readonly string[], input = ''): Promise<Ended> {
  const [file = '', ...args] = words;
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: COMMAND_MS, killSignal: 'SIGKILL' });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

const words = (text: string): string[] => text.split(' ').filter((word) => word !== '');
const podman = (...more: string[]): Promise<Ended> =>
  command([...words(`podman --root ${work}/images --runroot ${work}/run --storage-driver vfs --cgroup-manager cgroupfs --runtime ${RUNTIME}`), ...more]);
const ctr = (...more: string[]): Promise<Ended> => command(['ctr', '-a', join(work, 'containerd.sock'), ...more]);
const OURS = ['--snapshotter', 'native', '--runc-binary', RUNTIME];

/** What is tried until it succeeds, or ends with its last failure: a server that starts tells nobody. */
async function eventually(check: () => Promise<void>): Promise<void> {
  for (let left = 60; ; left--) {
    try {
      return await check();
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

async function expectRun(ended: Promise<Ended>, code: number, stdout: RegExp | string, stderr: RegExp = /^/): Promise<void> {
  const is = await ended;
  assert.equal(is.code, code, `${is.stdout}${is.stderr}`);
  if (typeof stdout === 'string') assert.equal(is.stdout, stdout);
  else assert.match(is.stdout, stdout);
  assert.match(is.stderr, stderr);
}

/** Processes of this host that are the containers' of this test. */
async function machines(): Promise<number> {
  const found = await command(['ps', '-eo', 'args']);
  return found.stdout
    .split('\n')
    .filter((line) => line.includes('dist/container.js run') && (line.includes('/run/ukl-oci') || line.includes('/run/containerd/runc'))).length;
}

const LOOP = 'trap "echo ended; exit 3" TERM; echo up; while :; do sleep 1; done';
const SERVE = 'mkdir -p /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www';
const shared = join(work, 'shared');

const CASES: readonly (readonly [engine: 'podman' | 'containerd', what: string, () => Promise<void>])[] = [
  [
    'podman',
    'run: streams, status, hostname, variables',
    () =>
      expectRun(
        podman('run', '--rm', '--network', 'none', '-h', 'box', '-e', 'A=b', 'box', 'sh', '-c', 'hostname; echo $A; echo no >&2; exit 7'),
        7,
        'box\nb\n',
        /no/,
      ),
  ],
  [
    'podman',
    'run --user, -w',
    () => expectRun(podman('run', '--rm', '--network', 'none', '-u', '7:8', '-w', '/etc', 'box', 'sh', '-c', 'id; pwd'), 0, 'uid=7 gid=8\n/etc\n'),
  ],
  [
    'podman',
    'run -i takes what is typed',
    () =>
      expectRun(
        command([
          'sh',
          '-c',
          `echo typed | podman --root ${work}/images --runroot ${work}/run --storage-driver vfs --cgroup-manager cgroupfs --runtime ${RUNTIME} run --rm -i --network none box cat`,
        ]),
        0,
        'typed\n',
      ),
  ],
  [
    'podman',
    'run -t has a terminal',
    () => expectRun(podman('run', '--rm', '-t', '--network', 'none', 'box', 'sh', '-c', 'tty; test -t 1'), 0, /^\/dev\/pts\/0\r\n/),
  ],
  [
    'podman',
    'an annotation for ring 3, and one that is wrong',
    async () => {
      await expectRun(podman('run', '--rm', '--network', 'none', '--annotation', 'ukl.ring=3', 'box', 'sh', '-c', 'echo three'), 0, 'three\n');
      await expectRun(podman('run', '--rm', '--network', 'none', '--annotation', 'ukl.ring=1', 'box', 'true'), 126, '', /expected 0 or 3/);
    },
  ],
  ['podman', 'a program that is not there', () => expectRun(podman('run', '--rm', '--network', 'none', 'box', 'nothing'), 126, '', /no program nothing/)],
  [
    'podman',
    'volumes: written, and read only',
    async () => {
      await expectRun(
        podman(
          'run',
          '--rm',
          '--network',
          'none',
          '-v',
          `${shared}:/rw`,
          '-v',
          `${shared}:/ro:ro`,
          'box',
          'sh',
          '-c',
          'echo w > /rw/written; cat /ro/written; echo x > /ro/no',
        ),
        1,
        'w\n',
        /Read-only/,
      );
      assert.equal(await readFile(join(shared, 'written'), 'utf8'), 'w\n');
    },
  ],
  [
    'podman',
    'run -d, logs, exec (-u, -i, status), pause, stop: the program ends itself; start again',
    async () => {
      await expectRun(podman('run', '-d', '--name', 'one', '--network', 'none', 'box', 'sh', '-c', LOOP), 0, /^[0-9a-f]{64}\n$/);
      await eventually(() => expectRun(podman('logs', 'one'), 0, 'up\n'));
      await expectRun(podman('exec', '-u', '5:6', 'one', 'sh', '-c', 'id; exit 4'), 4, 'uid=5 gid=6\n');
      await expectRun(podman('pause', 'one'), 0, /one|[0-9a-f]{64}/);
      await expectRun(podman('inspect', 'one', '--format', '{{.State.Status}}'), 0, 'paused\n');
      await expectRun(podman('unpause', 'one'), 0, /one|[0-9a-f]{64}/);
      await expectRun(podman('stop', '-t', '30', 'one'), 0, 'one\n');
      await expectRun(podman('inspect', 'one', '--format', '{{.State.ExitCode}}'), 0, '3\n');
      await expectRun(podman('logs', 'one'), 0, 'up\nended\n');
      await expectRun(podman('start', 'one'), 0, 'one\n');
      await expectRun(podman('kill', 'one'), 0, 'one\n');
      await expectRun(podman('wait', 'one'), 0, '137\n');
      await expectRun(podman('rm', '-f', 'one'), 0, /one|[0-9a-f]{64}/);
    },
  ],
  [
    'podman',
    "limits are the machine's: -m 256m, --cpus 1.5",
    () =>
      expectRun(
        podman(
          'run',
          '--rm',
          '--network',
          'none',
          '-m',
          '256m',
          '--cpus',
          '1.5',
          'box',
          'sh',
          '-c',
          'grep MemTotal /proc/meminfo; grep -c ^processor /proc/cpuinfo',
        ),
        0,
        /^MemTotal: +2[34]\d{4} kB\n2\n$/,
      ),
  ],
  [
    'podman',
    "the engine's bridge: a published port, the container's address, one guest to another",
    async () => {
      await expectRun(podman('run', '-d', '--name', 'web', '-p', '127.0.0.1:18080:80', 'box', 'sh', '-c', SERVE), 0, /./);
      await eventually(() => expectRun(command(words('curl -sS -m 5 http://127.0.0.1:18080/')), 0, 'page\n'));
      const address = (await podman('inspect', 'web', '--format', '{{.NetworkSettings.IPAddress}}')).stdout.trim();
      await expectRun(podman('run', '--rm', 'box', 'wget', '-q', '-O', '-', `http://${address}/`), 0, 'page\n');
      await expectRun(podman('rm', '-f', '-t', '0', 'web'), 0, /./);
    },
  ],
  [
    'podman',
    "the host's network with ukl.publish",
    async () => {
      await expectRun(podman('run', '-d', '--name', 'host', '--network', 'host', '--annotation', 'ukl.publish=18081:80', 'box', 'sh', '-c', SERVE), 0, /./);
      await eventually(() => expectRun(command(words('curl -sS -m 5 http://127.0.0.1:18081/')), 0, 'page\n'));
      await expectRun(podman('rm', '-f', '-t', '0', 'host'), 0, /./);
    },
  ],
  [
    'podman',
    'what ukl build --container oci made, by podman load',
    () => expectRun(podman('run', '--rm', '--network', 'none', 'localhost/unikernel'), 0, /Hello/i),
  ],
  [
    'containerd',
    'run: streams and status',
    () => expectRun(ctr('run', '--rm', ...OURS, 'docker.io/library/box:latest', 'c1', 'sh', '-c', 'hostname; echo no >&2; exit 6'), 6, 'c1\n', /no/),
  ],
  [
    'containerd',
    'run -d, task exec, pause, resume, ps, kill, delete',
    async () => {
      await expectRun(ctr('run', '-d', ...OURS, 'docker.io/library/box:latest', 'c2', 'sh', '-c', LOOP), 0, /^/);
      await expectRun(ctr('task', 'exec', '--exec-id', 'e1', 'c2', 'sh', '-c', 'echo beside; exit 4'), 4, /beside/);
      await expectRun(ctr('task', 'pause', 'c2'), 0, '');
      await expectRun(ctr('task', 'ls'), 0, /c2 .*PAUSED/);
      await expectRun(ctr('task', 'resume', 'c2'), 0, '');
      await expectRun(ctr('task', 'ps', 'c2'), 0, /\n\d+.*\n\d+/);
      await expectRun(ctr('task', 'kill', '-s', 'TERM', 'c2'), 0, '');
      await eventually(() => expectRun(ctr('task', 'ls'), 0, /c2 .*STOPPED/));
      await ctr('task', 'rm', 'c2');
      await expectRun(ctr('container', 'rm', 'c2'), 0, '');
    },
  ],
  [
    'containerd',
    'what ukl build --container oci made, by ctr images import',
    () => expectRun(ctr('run', '--rm', ...OURS, 'unikernel:latest', 'c3'), 0, /Hello/i),
  ],
];

async function prepare(): Promise<ChildProcess> {
  await mkdir(join(work, 'root/bin'), { recursive: true });
  await mkdir(join(work, 'root/etc'));
  await mkdir(shared);
  await cp('/bin/busybox', join(work, 'root/bin/busybox'));
  for (const name of words('sh cat echo sleep id pwd hostname tty test true mkdir httpd wget grep')) await symlink('busybox', join(work, 'root/bin', name));
  await exec('tar', ['-C', join(work, 'root'), '-cf', join(work, 'box.tar'), '.']);
  await expectRun(podman('import', join(work, 'box.tar'), 'box'), 0, /sha256/);
  await expectRun(podman('save', '--format', 'docker-archive', '-o', join(work, 'save.tar'), 'box'), 0, /^/);
  await build(join(projectRoot, 'examples/hello'), { container: 'oci', out: join(work, 'unikernel.tar'), log });
  const loaded = await podman('load', '-i', join(work, 'unikernel.tar'));
  const [, image = ''] = /Loaded image: (\S+)/.exec(loaded.stdout) ?? [];
  await expectRun(podman('tag', image, 'localhost/unikernel'), 0, '');
  await writeFile(
    join(work, 'containerd.toml'),
    `version = 2\nroot = "${work}/containerd"\nstate = "${work}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "${work}/containerd.sock"\n`,
  );
  const daemon = spawn('containerd', ['-c', join(work, 'containerd.toml'), '-l', 'error'], { stdio: 'ignore' });
  await eventually(() => expectRun(ctr('version'), 0, /Server/));
  await expectRun(ctr('images', 'import', '--snapshotter', 'native', join(work, 'save.tar')), 0, /done/);
  const [name = ''] = (await ctr('images', 'ls', '-q')).stdout.trim().split('\n');
  await expectRun(ctr('images', 'tag', name, 'docker.io/library/box:latest'), 0, /^/);
  await expectRun(ctr('images', 'import', '--snapshotter', 'native', '--index-name', 'unikernel:latest', join(work, 'unikernel.tar')), 0, /done/);
  return daemon;
}

const daemon = await prepare();
const rows: string[] = [];
let failures = 0;
try {
  for (const [engine, what, check] of CASES) {
    const problem = await check().then(
      () => undefined,
      (error: unknown) => asUklError(error).message,
    );
    failures += problem === undefined ? 0 : 1;
    log.info(`${problem === undefined ? 'ok    ' : 'FAILED'} ${engine}: ${what}${problem === undefined ? '' : `: ${problem}`}`);
    rows.push(`| ${engine} | ${what} | ${problem === undefined ? 'works' : `fails: ${problem.split('\n')[0]}`} |`);
  }
  await podman('rm', '-f', '-a', '-t', '0');
  const left = await machines();
  failures += left;
  rows.push(`| both | processes of containers that are left at the end | ${left} |`);
} finally {
  daemon.kill();
  await command(['umount', '-R', '-l', join(work, 'images')]);
}
const versions = [(await command(['podman', '--version'])).stdout, (await command(['containerd', '--version'])).stdout.replace(/ \S*$/, '')].map((text) =>
  text.trim(),
);
await writeFile(
  join(projectRoot, 'docs/notes/runtime.md'),
  `# Engines that run unikernels

What \`npx tsx test/runtime/run.ts\` saw, in emulation: ${versions.join('; ')}. The containers are of busybox, whose shell is in ring 0, and of \`examples/hello\` as a unikernel.

| engine | what | result |
| --- | --- | --- |
${rows.join('\n')}

* containerd's log has a warning after each container that it removes, \`failed to remove runc container ... exit status 255\`: it asks once more for what is gone, and loses the answer, which is 0.
* \`podman top\` lists this host's processes: it looks into the container's PID name space, which a machine does not need.
`,
);
process.exitCode = failures === 0 ? 0 : 1;
