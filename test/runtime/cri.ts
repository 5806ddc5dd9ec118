// SPDX-License-Identifier: MIT
/** Pods of containerd as a kubelet asks for them, by the CRI (kubernetes/cri-api, runtime.v1), in a network name space of the test's own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { command, type Engine, eventually, expectRun, type Given, LOOP, SERVE, words } from './command.js';
import { Grpc, type Message } from './grpc.js';

/** ContainerState. */
const [RUNNING, EXITED] = [1, 2];
const MEMORY_MIB = 256;

export async function startCri({ work: above, runtime, box }: Given): Promise<Engine> {
  const work = join(above, 'cri');
  await mkdir(join(work, 'cni'), { recursive: true });
  const space = `ukl-cri-${process.pid}`;
  const inside = ['nsenter', `--net=/run/netns/${space}`];
  await expectRun(command(['ip', 'netns', 'add', space]), 0, '');
  await expectRun(command([...inside, 'ip', 'link', 'set', 'lo', 'up']), 0, '');
  const ranges = [[{ subnet: '10.87.0.0/24' }]];
  const bridge = { type: 'bridge', bridge: 'ukl-cri', isGateway: true, ipam: { type: 'host-local', ranges, dataDir: join(work, 'ipam') } };
  await writeFile(join(work, 'cni/test.conflist'), JSON.stringify({ cniVersion: '0.4.0', name: 'test', plugins: [bridge] }));
  // As docs/oci-runtime.md has it.
  await writeFile(
    join(work, 'containerd.toml'),
    `version = 2
root = "${work}/root"
state = "${work}/state"
[grpc]
  address = "${work}/socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/box:latest"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "${work}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.ukl]
  runtime_type = "io.containerd.runc.v2"
  pod_annotations = ["ukl.*"]
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.ukl.options]
  BinaryName = "${runtime}"
`,
  );
  const [nsenter = '', ...words0] = inside;
  const daemon = spawn(nsenter, [...words0, 'containerd', '-c', join(work, 'containerd.toml'), '-l', 'error'], { stdio: 'ignore' });
  const ctr = ['ctr', '-a', join(work, 'socket'), '-n', 'k8s.io'];
  await eventually(() => expectRun(command([...ctr, 'version']), 0, /Server/));
  await expectRun(command([...ctr, 'images', 'import', '--snapshotter', 'native', box]), 0, /done/);
  const grpc = new Grpc(join(work, 'socket'), 'runtime.v1.RuntimeService');

  const sandboxOf = (name: string): Message => {
    const metadata: Message = [
      [1, name],
      [2, `uid-${name}`],
      [3, 'default'],
    ];
    const annotation: Message = [
      [1, 'ukl.ring'],
      [2, '3'],
    ];
    const logDirectory = work;
    return [[1, metadata], [2, `${name}-host`], [3, logDirectory], ...(name === 'ring3' ? [[7, annotation] as const] : []), [8, []]];
  };
  /** A pod with one container that runs; both are gone afterwards. */
  const pod = async (name: string, script: string, check: (container: string, address: string, sandbox: string) => Promise<void>): Promise<void> => {
    const config = sandboxOf(name);
    const sandbox = (
      await grpc.ask('RunPodSandbox', [
        [1, config],
        [2, 'ukl'],
      ])
    ).text(1);
    try {
      const address = (await grpc.ask('PodSandboxStatus', [[1, sandbox]])).message(1).message(5).text(1);
      const container: Message = [
        [1, [[1, 'main']]],
        [2, [[1, 'localhost/box:latest']]],
        ...['sh', '-c', script].map((word) => [3, word] as const),
        [
          6,
          [
            [1, 'WORD'],
            [2, 'said'],
          ],
        ],
        [11, `${name}.log`],
        [15, [[1, [[4, MEMORY_MIB * 2 ** 20]]]]], // linux.resources.memory_limit_in_bytes
      ];
      const id = (
        await grpc.ask('CreateContainer', [
          [1, sandbox],
          [2, container],
          [3, config],
        ])
      ).text(1);
      await grpc.ask('StartContainer', [[1, id]]);
      await check(id, address, sandbox);
    } finally {
      await grpc.ask('StopPodSandbox', [[1, sandbox]]);
      await grpc.ask('RemovePodSandbox', [[1, sandbox]]);
    }
  };
  const stateOf = async (container: string): Promise<{ readonly state: number; readonly code: number }> => {
    const status = (await grpc.ask('ContainerStatus', [[1, container]])).message(1);
    return { state: status.number(3), code: status.number(7) };
  };
  const logOf = (name: string): Promise<string> => readFile(join(work, `${name}.log`), 'utf8');

  const cases: Engine['cases'] = [
    [
      "a pod: the pod's name, variables, memory, logs, ExecSync, StopContainer: the program ends itself",
      () =>
        pod('loop', `hostname; echo $WORD; grep MemTotal /proc/meminfo; ${LOOP}`, async (container) => {
          await eventually(async () => assert.match(await logOf('loop'), / loop-host\n.* said\n.* MemTotal: +2[34]\d{4} kB\n.* up\n/));
          const asked = await grpc.ask('ExecSync', [[1, container], ...['sh', '-c', 'echo beside; exit 4'].map((word) => [2, word] as const), [3, 60]]);
          assert.deepEqual([asked.text(1), asked.number(3)], ['beside\n', 4]);
          assert.equal((await stateOf(container)).state, RUNNING);
          await grpc.ask('StopContainer', [
            [1, container],
            [2, 30],
          ]);
          assert.deepEqual(await stateOf(container), { state: EXITED, code: 3 });
          assert.match(await logOf('loop'), / ended\n$/);
        }),
    ],
    [
      "the pod's address, by a CNI plug-in: a server is reached, and another pod reaches it",
      () =>
        pod('web', SERVE, async (_container, address) => {
          await eventually(() => expectRun(command([...inside, ...words('curl -sS -m 5'), `http://${address}/`]), 0, 'page\n'));
          await pod('client', `wget -q -O - http://${address}/`, async (client) => {
            await eventually(async () => assert.deepEqual(await stateOf(client), { state: EXITED, code: 0 }));
            assert.match(await logOf('client'), / page\n$/);
          });
        }),
    ],
    [
      'an annotation of a pod: ring 3',
      () =>
        pod('ring3', 'cat /proc/cmdline; echo up', async (container) => {
          await eventually(async () => assert.deepEqual(await stateOf(container), { state: EXITED, code: 0 }));
          const log = await logOf('ring3');
          assert.match(log, / up\n/);
          assert.doesNotMatch(log, / ukl=/);
        }),
    ],
  ];
  return {
    version: (await command(['containerd', '--version'])).stdout.replace(/ \S*$/, '').trim(),
    cases,
    async [Symbol.asyncDispose]() {
      grpc[Symbol.dispose]();
      daemon.kill();
      await command(['ip', 'netns', 'delete', space]);
    },
  };
}
