// SPDX-License-Identifier: MIT
/** Containers of containerd, by ctr. */
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { command, type Ended, type Engine, eventually, expectRun, type Given, LOOP } from './command.js';

export async function startContainerd({ work, runtime, box, unikernel }: Given): Promise<Engine> {
  const ctr = (...more: string[]): Promise<Ended> => command(['ctr', '-a', join(work, 'containerd.sock'), ...more]);
  const OURS = ['--snapshotter', 'native', '--runc-binary', runtime];
  await writeFile(
    join(work, 'containerd.toml'),
    `version = 2\nroot = "${work}/containerd"\nstate = "${work}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "${work}/containerd.sock"\n`,
  );
  const daemon = spawn('containerd', ['-c', join(work, 'containerd.toml'), '-l', 'error'], { stdio: 'ignore' });
  await eventually(() => expectRun(ctr('version'), 0, /Server/));
  await expectRun(ctr('images', 'import', '--snapshotter', 'native', box), 0, /done/);
  await expectRun(ctr('images', 'import', '--snapshotter', 'native', '--index-name', 'unikernel:latest', unikernel), 0, /done/);
  const cases: Engine['cases'] = [
    [
      'run: streams and status',
      () => expectRun(ctr('run', '--rm', ...OURS, 'localhost/box:latest', 'c1', 'sh', '-c', 'hostname; echo no >&2; exit 6'), 6, 'c1\n', /no/),
    ],
    [
      'run -d, task exec, pause, resume, ps, kill, delete',
      async () => {
        await expectRun(ctr('run', '-d', ...OURS, 'localhost/box:latest', 'c2', 'sh', '-c', LOOP), 0, /^/);
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
    ['what ukl build --container oci made, by ctr images import', () => expectRun(ctr('run', '--rm', ...OURS, 'unikernel:latest', 'c3'), 0, /Hello/i)],
  ];
  return {
    version: (await command(['containerd', '--version'])).stdout.replace(/ \S*$/, '').trim(),
    cases,
    async [Symbol.asyncDispose]() {
      daemon.kill();
    },
  };
}
