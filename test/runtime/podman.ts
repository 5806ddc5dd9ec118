// SPDX-License-Identifier: MIT
/** Containers of podman. */
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { command, type Ended, type Engine, eventually, expectRun, type Given, LOOP, SERVE, words } from './command.js';

/** podman's command line, with images and state in a directory of the test's own. */
export const podmanIn = (work: string, runtime: string): readonly string[] =>
  words(`podman --root ${work}/images --runroot ${work}/run --storage-driver vfs --cgroup-manager cgroupfs --runtime ${runtime}`);

/** Loads an archive whose image has a name of its own. */
export async function loadAs(podman: readonly string[], archive: string, name: string): Promise<void> {
  const loaded = await command([...podman, 'load', '-i', archive]);
  const [, image = ''] = /Loaded image: (\S+)/.exec(loaded.stdout) ?? [];
  await expectRun(command([...podman, 'tag', image, name]), 0, '');
}

export async function startPodman({ work, runtime, box, unikernel }: Given): Promise<Engine> {
  const line = podmanIn(work, runtime);
  const podman = (...more: string[]): Promise<Ended> => command([...line, ...more]);
  const shared = join(work, 'shared');
  await mkdir(shared);
  await expectRun(podman('load', '-i', box), 0, /localhost\/box/);
  await loadAs(line, unikernel, 'localhost/unikernel');
  const cases: Engine['cases'] = [
    [
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
      'run --user, -w',
      () => expectRun(podman('run', '--rm', '--network', 'none', '-u', '7:8', '-w', '/etc', 'box', 'sh', '-c', 'id; pwd'), 0, 'uid=7 gid=8\n/etc\n'),
    ],
    ['run -i takes what is typed', () => expectRun(command([...line, ...words('run --rm -i --network none box cat')], 'typed\n'), 0, 'typed\n')],
    ['run -t has a terminal', () => expectRun(podman('run', '--rm', '-t', '--network', 'none', 'box', 'sh', '-c', 'tty; test -t 1'), 0, /^\/dev\/pts\/0\r\n/)],
    [
      'an annotation for ring 3, and one that is wrong',
      async () => {
        await expectRun(podman('run', '--rm', '--network', 'none', '--annotation', 'ukl.ring=3', 'box', 'sh', '-c', 'echo three'), 0, 'three\n');
        await expectRun(podman('run', '--rm', '--network', 'none', '--annotation', 'ukl.ring=1', 'box', 'true'), 126, '', /expected 0 or 3/);
      },
    ],
    ['a program that is not there', () => expectRun(podman('run', '--rm', '--network', 'none', 'box', 'nothing'), 126, '', /no program nothing/)],
    [
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
      "the host's network with ukl.publish",
      async () => {
        await expectRun(podman('run', '-d', '--name', 'host', '--network', 'host', '--annotation', 'ukl.publish=18081:80', 'box', 'sh', '-c', SERVE), 0, /./);
        await eventually(() => expectRun(command(words('curl -sS -m 5 http://127.0.0.1:18081/')), 0, 'page\n'));
        await expectRun(podman('rm', '-f', '-t', '0', 'host'), 0, /./);
      },
    ],
    ['what ukl build --container oci made, by podman load', () => expectRun(podman('run', '--rm', '--network', 'none', 'localhost/unikernel'), 0, /Hello/i)],
  ];
  return {
    version: (await command(['podman', '--version'])).stdout.trim(),
    cases,
    async [Symbol.asyncDispose]() {
      await podman('rm', '-f', '-a', '-t', '0');
      await command(['umount', '-R', '-l', join(work, 'images')]);
    },
  };
}
