// SPDX-License-Identifier: MIT
/** Pods of podman, from manifests, in a network name space of the test's own. */
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { projectRoot } from '../../src/lib/paths.js';
import { build, createLog, deploy } from '../../src/sdk/index.js';
import { command, type Ended, type Engine, eventually, expectRun, type Given, LOOP, SERVE, words } from './command.js';
import { loadAs, podmanIn } from './podman.js';

const EXAMPLE = join(projectRoot, 'examples/http');
const IMAGE = '127.0.0.1:5000/test/http:1';

interface ContainerSpec {
  readonly name: string;
  readonly command: readonly string[];
  readonly [more: string]: unknown;
}

const podOf = (name: string, containers: readonly ContainerSpec[], more: object = {}): string =>
  stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { ...more, containers: containers.map((one) => ({ image: 'localhost/box:latest', imagePullPolicy: 'Never', ...one })) },
  });

export async function startPods({ work: above, runtime, box }: Given): Promise<Engine> {
  const work = join(above, 'pods');
  const shared = join(work, 'shared');
  await mkdir(shared, { recursive: true });
  const space = `ukl-pods-${process.pid}`;
  const inside = ['nsenter', `--net=/run/netns/${space}`];
  const line = [...inside, ...podmanIn(work, runtime)];
  const podman = (...more: string[]): Promise<Ended> => command([...line, ...more]);
  const page = (url: string, text: RegExp | string): Promise<void> =>
    eventually(() => expectRun(command([...inside, ...words('curl -sS -m 5'), url]), 0, text));
  const play = (manifest: string, ...more: string[]): Promise<Ended> => command([...line, 'kube', 'play', ...more, '-'], manifest);
  /** Plays what a case needs; nothing of it is left afterwards. */
  const played = async (manifest: string, check: () => Promise<void>): Promise<void> => {
    try {
      await check();
    } finally {
      await expectRun(command([...line, 'kube', 'down', '-'], manifest), 0, /Pods removed/);
    }
    await expectRun(podman('ps', '-a', '--noheading'), 0, /^\s*$/);
  };

  await expectRun(command(['ip', 'netns', 'add', space]), 0, '');
  await expectRun(command([...inside, 'ip', 'link', 'set', 'lo', 'up']), 0, '');
  await expectRun(podman('load', '-i', box), 0, /localhost\/box/);
  const archive = join(work, 'http.tar');
  await build(EXAMPLE, { container: 'oci', out: archive, log: createLog() });
  await loadAs(line, archive, IMAGE);

  const cases: Engine['cases'] = [
    [
      'what ukl deploy --to kubernetes writes: plays, serves, is replaced, goes down',
      async () => {
        const { files } = await deploy(EXAMPLE, { to: 'kubernetes', settings: { image: IMAGE }, dryRun: true });
        const manifests = Object.entries(files).filter(([name]) => name.startsWith('base/') && !name.endsWith('kustomization.yaml'));
        const all = manifests.map(([, text]) => text).join('---\n');
        await played(all, async () => {
          await expectRun(play(all), 0, /Pod:/);
          await page('http://127.0.0.1:80/', /./);
          await expectRun(play(all, '--replace'), 0, /Pods removed:[^]*Pod:/);
          await page('http://127.0.0.1:80/', /./);
          await expectRun(podman('pod', 'stop', '-t', '30', 'http-pod-0'), 0, /./);
          await expectRun(podman('inspect', 'http-pod-0-http', '--format', '{{.State.ExitCode}}'), 0, '143\n');
        });
      },
    ],
    [
      'a pod: host name, variables, a directory of the host, a port, exec, logs',
      () => {
        const box = {
          name: 'one',
          command: ['sh', '-c', `echo "$(hostname) $WORD"; echo w > /shared/written; ${SERVE}`],
          env: [{ name: 'WORD', value: 'said' }],
          ports: [{ containerPort: 80, hostPort: 8080, hostIP: '127.0.0.1' }],
          volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
        };
        const manifest = podOf('box', [box], { volumes: [{ name: 'shared', hostPath: { path: shared, type: 'Directory' } }] });
        return played(manifest, async () => {
          await expectRun(play(manifest), 0, /Pod:/);
          await page('http://127.0.0.1:8080/', 'page\n');
          await expectRun(podman('logs', 'box-one'), 0, 'box said\n');
          await expectRun(podman('exec', 'box-one', 'sh', '-c', 'echo beside; exit 4'), 4, 'beside\n');
          assert.equal(await readFile(join(shared, 'written'), 'utf8'), 'w\n');
        });
      },
    ],
    [
      'a program that ends is started again',
      () => {
        const manifest = podOf('again', [{ name: 'one', command: ['sh', '-c', 'echo begun; exit 2'] }], { restartPolicy: 'Always' });
        return played(manifest, async () => {
          await expectRun(play(manifest), 0, /Pod:/);
          await eventually(() => expectRun(podman('logs', 'again-one'), 0, /^begun\nbegun\n/));
        });
      },
    ],
    [
      'a second container of a pod is refused, and says why',
      () => {
        const manifest = podOf(
          'two',
          ['one', 'two'].map((name) => ({ name, command: ['sh', '-c', LOOP] })),
        );
        return played(manifest, () => expectRun(play(manifest), 125, /^/, /another guest has the network of this name space already/));
      },
    ],
  ];
  return {
    version: (await command(['podman', '--version'])).stdout.trim(),
    cases,
    async [Symbol.asyncDispose]() {
      await podman('pod', 'rm', '-f', '-a', '-t', '0');
      await command(['umount', '-R', '-l', join(work, 'images')]);
      await command(['ip', 'netns', 'delete', space]);
    },
  };
}
