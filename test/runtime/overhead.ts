// SPDX-License-Identifier: MIT
/**
 * What a guest costs of this host's memory besides its own, as a container of ukl-oci's and detached:
 * `npx tsx test/runtime/overhead.ts`, as root, writes docs/notes/overhead.md.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { median } from '../../src/bench/stats.js';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { makeScratch } from '../../src/lib/scratch.js';
import { build, createLog, detach, type Image, listGuests, removeGuest } from '../../src/sdk/index.js';
import { freePort } from '../boot/harness.js';
import { must, writeWholeNote } from '../cases.js';
import { eventually } from './command.js';

const RUNTIME = join(projectRoot, 'ukl-oci');
const REQUESTS = 5000;
/** Of each kind: the middle one counts. */
const GUESTS = 3;

/** In MiB. */
interface Cost {
  readonly supervisor: number;
  readonly vmm: number;
  readonly translated: number;
}

/**
 * MiB that only one process has, and that the kernel cannot drop, from /proc/PID/smaps (proc(5)).
 * A guest's memory is the mapping of its size, and code that TCG writes is executable and writable.
 */
async function ownOf(pid: number, guestMiB: number): Promise<{ readonly guest: number; readonly translated: number; readonly other: number }> {
  const own = { guest: 0, translated: 0, other: 0 };
  for (const block of (await readFile(`/proc/${pid}/smaps`, 'latin1')).split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
    const kib = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(block)?.[1] ?? 0);
    const kind = /^\S+ rwx/.test(block) ? 'translated' : kib('Size') === guestMiB * 1024 ? 'guest' : 'other';
    own[kind] += kib('Private_Dirty') / 1024;
  }
  return own;
}

const agent = new Agent({ keepAlive: true });
async function ask(port: number): Promise<void> {
  const asked = request({ host: '127.0.0.1', port, agent });
  asked.end();
  const [answer] = (await once(asked, 'response')) as [NodeJS.ReadableStream];
  await once(answer.resume(), 'end');
}

/** What two processes have after a load, since emulation translates what is run. */
async function costOf(supervisor: number, vmm: number, { memoryMiB }: Target, port: number): Promise<Cost> {
  await eventually(() => ask(port));
  for (let sent = 0; sent < REQUESTS; sent++) await ask(port);
  const { translated, other } = await ownOf(vmm, memoryMiB);
  return { supervisor: (await ownOf(supervisor, memoryMiB)).other, vmm: other, translated };
}

interface Target {
  readonly name: string;
  readonly path: string;
  readonly port: number;
  readonly memoryMiB: number;
}

const TARGETS: readonly Target[] = [
  { name: 'a C server', path: 'examples/http', port: 80, memoryMiB: 256 },
  { name: 'a TypeScript server', path: 'examples/typescript/http.ts', port: 8080, memoryMiB: 512 },
];

/** A bundle, started and taken away again; `look` gets its processes. */
async function contained<T>(config: object, unikernel: string | undefined, look: (pids: readonly number[]) => Promise<T>): Promise<T> {
  const bundle = file('bundle');
  const oci = (...words: string[]): Promise<string> => exec(RUNTIME, ['--root', file('root'), ...words]);
  await mkdir(join(bundle, 'rootfs'), { recursive: true });
  if (unikernel !== undefined) await copyFile(unikernel, join(bundle, 'rootfs/unikernel'));
  await writeFile(join(bundle, 'config.json'), JSON.stringify({ ociVersion: '1.0.2', root: { path: 'rootfs' }, ...config }));
  // Its streams are the container's.
  const [code] = (await once(spawn(RUNTIME, ['--root', file('root'), 'create', '--bundle', bundle, 'one'], { stdio: 'ignore' }), 'exit')) as [number];
  must(code === 0, `create ends with ${code}`);
  try {
    await oci('start', 'one');
    return await look(JSON.parse(await oci('ps', '-f', 'json', 'one')) as number[]);
  } finally {
    await oci('delete', '--force', 'one');
  }
}

async function asContainer({ path, manifest }: Image, target: Target): Promise<Cost> {
  const port = await freePort();
  const config = {
    process: { args: manifest.run.command, cwd: '/' },
    annotations: { 'ukl.image': '/unikernel', 'ukl.publish': `127.0.0.1:${port}:${target.port}` },
    linux: { resources: { memory: { limit: target.memoryMiB * 2 ** 20 } } },
  };
  return contained(config, path, ([supervisor = 0, vmm = 0]) => costOf(supervisor, vmm, target, port));
}

/** What stands for a pod. */
const asSandbox = (): Promise<number> =>
  contained({ process: { args: ['/pause'], cwd: '/' }, annotations: { 'io.kubernetes.cri.container-type': 'sandbox' } }, undefined, async ([pid = 0]) => {
    const { other } = await ownOf(pid, 0);
    return other;
  });

async function asDetached({ path }: Image, target: Target): Promise<Cost> {
  const port = await freePort();
  const name = `overhead-${process.pid}`;
  await detach(path, { name, memory: `${target.memoryMiB}M`, ports: [`127.0.0.1:${port}:${target.port}`], imagePorts: false });
  try {
    const { pid = 0, vmmPid = 0 } = (await listGuests()).find(({ spec }) => spec.name === name)?.status ?? {};
    return await costOf(pid, vmmPid, target, port);
  } finally {
    await removeGuest(name, true);
  }
}

const log = createLog();
await using scratch = await makeScratch('overhead');
const file = (name: string): string => join(scratch.path, name);
const mib = (values: readonly number[]): string => median(values).toFixed(0);
const sandboxes: number[] = [];
while (sandboxes.length < GUESTS) sandboxes.push(await asSandbox());
const rows = [`| none, for a pod | | \`ukl-oci\` | ${mib(sandboxes)} | | ${mib(sandboxes)} | |`];
log.info(rows.join());
for (const target of TARGETS) {
  const image = await build(join(projectRoot, target.path), { log, out: file('image') });
  for (const [way, start] of [
    ['`ukl-oci`', asContainer],
    ['`ukl run -d`', asDetached],
  ] as const) {
    const costs: Cost[] = [];
    while (costs.length < GUESTS) costs.push(await start(image, target));
    const cells = [
      `${target.name}, ${target.memoryMiB} MiB`,
      mib([(await stat(image.path)).size / 2 ** 20]),
      way,
      ...[costs.map(({ supervisor }) => supervisor), costs.map(({ vmm }) => vmm), costs.map(({ supervisor, vmm }) => supervisor + vmm)].map(mib),
      mib(costs.map(({ translated }) => translated)),
    ];
    rows.push(`| ${cells.join(' | ')} |`);
    log.info(rows.at(-1) ?? '');
  }
}
await writeWholeNote(
  'overhead.md',
  `# What a guest costs besides its memory

\`npx tsx test/runtime/overhead.ts\`, the last time it was run: MiB of this host's memory that a process alone has and the kernel cannot drop (\`Private_Dirty\` of smaps), without the mapping that is the guest's memory, after
${REQUESTS} requests; the median of ${GUESTS} starts. QEMU 7.2 in emulation, images as bzImages.

| guest | its image | started by | its supervisor, Node.js | QEMU | both | code that emulation has translated |
| --- | --- | --- | --- | --- | --- | --- |
${rows.join('\n')}

QEMU keeps a copy of a bzImage to start it again, which is part of its column; of an ELF, what \`ukl-oci\` makes of a root file system, the copy is the file's, and the kernel can drop it. Translated code is none of KVM's: it grows with what the guest runs, up to 1 GiB.
What KVM has of the kernel's memory instead (page tables of the guest's) has not been measured, for want of a machine.
`,
);
