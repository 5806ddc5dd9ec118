// SPDX-License-Identifier: MIT
/**
 * Containers and pods of podman and of containerd as unikernels, as root: `npx tsx test/runtime/run.ts [podman|pods|containerd|cri]...`.
 * Installs what it needs, keeps images and state in a directory of its own, and writes docs/notes/runtime.md when all were tried.
 */
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensurePackages } from '../../src/host/requirements.js';
import { exec } from '../../src/lib/exec.js';
import { hashFile } from '../../src/lib/hash.js';
import { projectRoot } from '../../src/lib/paths.js';
import { makeScratch } from '../../src/lib/scratch.js';
import { build, createLog } from '../../src/sdk/index.js';
import { Cases, must, writeWholeNote } from '../cases.js';
import { command, type Engine, type Given, words } from './command.js';
import { startContainerd } from './containerd.js';
import { startCri } from './cri.js';
import { startPodman } from './podman.js';
import { startPods } from './pods.js';

const ENGINES: Readonly<Record<string, (given: Given) => Promise<Engine>>> = {
  podman: startPodman,
  pods: startPods,
  containerd: startContainerd,
  cri: startCri,
};
const PROGRAMS = 'sh cat echo sleep id pwd hostname tty test true mkdir httpd wget grep';

const log = createLog();
await ensurePackages(log, [
  { package: 'podman', why: 'the first engine', file: '/usr/bin/podman' },
  { package: 'catatonit', why: 'stands for a pod', file: '/usr/bin/catatonit' },
  { package: 'containerd', why: 'the second engine', file: '/usr/bin/containerd' },
  { package: 'busybox-static', why: 'the containers are of it', file: '/bin/busybox' },
  { package: 'containernetworking-plugins', why: 'networks of pods', file: '/usr/lib/cni/bridge' },
  { package: 'iproute2', why: 'networks', file: '/sbin/tc' },
  { package: 'curl', why: 'asks servers', file: '/usr/bin/curl' },
]);
await using scratch = await makeScratch('engines');
const work = scratch.path;

/** busybox as docker saves an image. */
async function makeBox(): Promise<string> {
  const root = join(work, 'root');
  await mkdir(join(root, 'bin'), { recursive: true });
  await mkdir(join(root, 'etc'));
  await cp('/bin/busybox', join(root, 'bin/busybox'));
  for (const name of words(PROGRAMS)) await symlink('busybox', join(root, 'bin', name));
  await exec('tar', ['-C', root, '-cf', join(work, 'layer.tar'), '.']);
  const layers = [`sha256:${await hashFile(join(work, 'layer.tar'))}`];
  await writeFile(
    join(work, 'config.json'),
    JSON.stringify({ architecture: 'amd64', os: 'linux', config: { Cmd: ['sh'] }, rootfs: { type: 'layers', diff_ids: layers } }),
  );
  await writeFile(join(work, 'manifest.json'), JSON.stringify([{ Config: 'config.json', RepoTags: ['localhost/box:latest'], Layers: ['layer.tar'] }]));
  await exec('tar', ['-C', work, '-cf', join(work, 'box.tar'), 'manifest.json', 'config.json', 'layer.tar']);
  return join(work, 'box.tar');
}

/** Processes of this host that are the containers' of this test. */
async function machines(): Promise<number> {
  const found = await command(['ps', '-eo', 'args']);
  return found.stdout
    .split('\n')
    .filter((line) => line.includes('dist/container.js run') && (line.includes('/run/ukl-oci') || line.includes('/run/containerd/runc'))).length;
}

const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !(name in ENGINES));
must(unknown === undefined, `'${unknown}' is none of ${Object.keys(ENGINES).join(', ')}`);
const unikernel = join(work, 'unikernel.tar');
await build(join(projectRoot, 'examples/hello'), { container: 'oci', out: unikernel, log });
const given: Given = { work, runtime: join(projectRoot, 'ukl-oci'), box: await makeBox(), unikernel };
const tried = new Cases(log);
const versions = new Set<string>();
for (const [name, start] of Object.entries(ENGINES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  await using engine = await start(given);
  versions.add(engine.version);
  for (const [what, check] of engine.cases)
    await tried.try([name, what], async () => {
      await check();
      return 'works';
    });
}
await tried.try(['all', 'processes of containers that are left at the end'], async () => {
  const left = await machines();
  must(left === 0, `${left}`);
  return 'none';
});
if (wanted.length === 0)
  await writeWholeNote(
    'runtime.md',
    `# Engines that run unikernels

What \`npx tsx test/runtime/run.ts\` saw, in emulation: ${[...versions].join('; ')}. The containers are of busybox, whose shell is in ring 0, and of \`examples/hello\` as a unikernel. \`pods\` are podman's, by \`podman kube play\`; \`cri\` are containerd's, as a kubelet asks for them.

| engine | what | result |
| --- | --- | --- |
${tried.rows.join('\n')}

* containerd's log has a warning after each container that it removes, \`failed to remove runc container ... exit status 255\`: it asks once more for what is gone, and loses the answer, which is 0.
* \`podman top\` lists this host's processes: it looks into the container's PID name space, which a machine does not need.
`,
  );
tried.end();
