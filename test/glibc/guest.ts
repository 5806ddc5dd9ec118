// SPDX-License-Identifier: MIT
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UklError } from '../../src/lib/errors.js';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { freePort, startGuest } from '../boot/harness.js';
import { make, type Tree, treeRoot } from './build.js';

/** A guest emulates its processor, maybe on a busy host; no test is known to hang. */
const TIMEOUT_FACTOR = 50;
const GUEST_SECONDS = 6 * 3600;

/** What tests start, and what the server's login and the script need. */
const PROGRAMS = [
  'bash',
  'sh',
  'dash',
  'env',
  'mount',
  'mkdir',
  'cat',
  'cp',
  'mv',
  'rm',
  'ls',
  'ln',
  'touch',
  'chmod',
  'echo',
  'printf',
  'true',
  'false',
  'sleep',
  'kill',
  'date',
  'id',
  'uname',
  'pwd',
  'head',
  'tail',
  'tr',
  'sort',
  'cmp',
  'diff',
  'grep',
  'sed',
  'expr',
  'test',
  'basename',
  'dirname',
  'mktemp',
  'timeout',
  'seq',
  'wc',
  'tty',
  'stty',
  'dd',
  'cut',
  'uniq',
  'umount',
];

/** C++ tests bring them along by name only; cancellation and backtraces open the second. */
const LIBRARIES = ['libstdc++.so.6', 'libgcc_s.so.1'].map((name) => `/usr/lib/x86_64-linux-gnu/${name}`);

export interface TestGuest {
  /** make in one of glibc's directories, with each test run in this guest. */
  make(subset: string, args: readonly string[], options: { jobs: number; onLine?: (line: string) => void }): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Writes keys of one run, for a server that only the loopback interface leads to; returns an ssh that has them. */
async function writeSsh(work: string, port: number): Promise<string> {
  await exec('dropbearkey', ['-t', 'ed25519', '-f', join(work, 'host_key')]);
  await exec('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(work, 'key')]);
  const config = join(work, 'ssh_config');
  await writeFile(
    config,
    `Host guest
  HostName 127.0.0.1
  Port ${port}
  User root
  IdentityFile ${join(work, 'key')}
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
  ControlMaster auto
  ControlPath ${join(work, 'control')}
  ControlPersist yes
`,
  );
  // The wrapper is also called by shell scripts, which would split an option off.
  const ssh = join(work, 'ssh');
  await writeFile(ssh, `#!/bin/sh\nexec ssh -F ${config} "$@"\n`, { mode: 0o755 });
  return ssh;
}

/**
 * Boots a guest that shares the trees and takes commands by ssh. With our
 * kernel, ld.so and so every dynamic test runs in ring 0, and so do the static
 * tests that are named ("nptl/tst-x"), at most 15; on the unpatched one, all run
 * in ring 3.
 */
export async function startTestGuest(tree: Tree, staticTests: readonly string[], signal: AbortSignal): Promise<TestGuest> {
  const work = await mkdtemp(join(tmpdir(), 'ukl-glibc-'));
  const port = await freePort();
  const ssh = await writeSsh(work, port);
  const ours = tree.flavour === 'ukl';
  const ring0 = ours ? ['elf/ld.so', ...staticTests] : [];
  await writeFile(join(work, 'list'), ring0.map((path, index) => `/ring0/${index} ${join(tree.build, path)}\n`).join(''));
  await writeFile(join(work, 'shells'), '/bin/bash\n/usr/bin/bash\n/bin/sh\n');
  await mkdir(join(treeRoot, 'bin'), { recursive: true });
  await exec('gcc', ['-o', join(treeRoot, 'bin/ring'), join(projectRoot, 'test/glibc/ring.c')]);

  const ended = new AbortController();
  const guest = await startGuest('/usr/bin/dash', {
    kernel: ours ? 'ukl' : 'stock',
    ring: 3,
    ring0: ring0.map((_path, index) => `/ring0/${index}`),
    args: ['/guest.sh', treeRoot],
    files: [
      `${join(projectRoot, 'test/glibc/guest.sh')}:/guest.sh`,
      `${join(work, 'list')}:/ring0/list`,
      ...ring0.map((path, index) => `${join(tree.build, path)}:/ring0/${index}`),
      `${join(work, 'host_key')}:/host_key`,
      `${join(work, 'key.pub')}:/authorized_keys`,
      `${join(work, 'shells')}:/etc/shells`,
      '/usr/sbin/dropbear',
      ...PROGRAMS.map((name) => `/usr/bin/${name}`),
      ...LIBRARIES,
    ],
    volumes: [`${treeRoot}:${treeRoot}`],
    ports: [`${port}:22`],
    memory: '2G',
    cpus: 2,
    timeout: GUEST_SECONDS,
    accel: 'tcg',
    signal,
  });
  void guest.result.then(
    (result) =>
      ended.abort(
        new UklError('UKL_VMM', `the guest ended: ${JSON.stringify(result.end)}`, {
          details: [...result.kernelLog, guest.stderr.text()].join('\n'),
          log: result.log,
        }),
      ),
    (error: unknown) => ended.abort(error),
  );
  const whileUp = AbortSignal.any([signal, ended.signal]);
  const dispose = async (): Promise<void> => {
    await exec(ssh, ['-O', 'exit', 'guest']).catch(() => {});
    await guest[Symbol.asyncDispose]();
    await rm(work, { recursive: true, force: true });
  };
  try {
    await Promise.race([
      guest.stderr.until(/Not backgrounding/),
      new Promise((_resolve, reject) => whileUp.addEventListener('abort', () => reject(whileUp.reason as Error), { once: true })),
    ]);
    await checkRing(tree, ssh, whileUp);
  } catch (error) {
    await dispose();
    throw error;
  }
  const wrapper = `${tree.source}/scripts/cross-test-ssh.sh --timeoutfactor ${TIMEOUT_FACTOR} --ssh ${ssh} guest`;
  return {
    async make(subset, args, options) {
      await make(tree, subset, ['-k', `test-wrapper=${wrapper}`, ...args], { ...options, signal: whileUp });
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** A test of the tests: what ld.so starts must be where we think it is. */
async function checkRing(tree: Tree, ssh: string, signal: AbortSignal): Promise<void> {
  const ring = (await exec(ssh, ['guest', `${tree.build}/elf/ld-linux-x86-64.so.2 --library-path ${tree.build} ${treeRoot}/bin/ring`], { signal })).trim();
  const expected = tree.flavour === 'ukl' ? '0' : '3';
  if (ring !== expected) throw new UklError('UKL_BUG', `tests of flavour ${tree.flavour} run in ring ${ring}, expected ${expected}`);
}
