// SPDX-License-Identifier: MIT
/**
 * Power cuts: a server writes numbers down on a disk of its own until the VMM is
 * killed; after the next start, none that it had promised to keep may be missing.
 * `npx tsx test/power/run.ts [--cuts N] [NAME...]` writes docs/notes/power.md.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { loadConfig } from '../../src/config/load.js';
import { projectRoot } from '../../src/lib/paths.js';
import { makeScratch } from '../../src/lib/scratch.js';
import type { DiskBus } from '../../src/model/index.js';
import { build, createLog, type RunningVm, run, type UklConfig } from '../../src/sdk/index.js';
import { Cases, writeWholeNote } from '../cases.js';
import { type Client, Connection, postgres, redis } from './clients.js';
import { NfsServer } from './nfs.js';

interface Server {
  readonly name: string;
  readonly config: (nfsPort: number) => Promise<UklConfig>;
  readonly port: number;
  readonly client: Client;
  /** What its own disk is connected to; without one, its data are on the NFS server. */
  readonly bus?: DiskBus;
  readonly ring0?: string;
  readonly cuts: number;
}

const redisOn = async (name: string, data: string): Promise<UklConfig> => ({
  name: `redis-${name}`,
  program: '/usr/bin/redis-server',
  args: ['--protected-mode', 'no', '--dir', '/data', '--appendonly', 'yes', '--appendfsync', 'always', '--save', ''],
  data: [data],
  memory: '512M',
});

async function postgresOn(type: string): Promise<UklConfig> {
  const directory = join(projectRoot, 'examples/postgres-server');
  const { files = [], ports: _, ...config } = await loadConfig(directory);
  return { ...config, files: files.map((file) => (/^[$/]/.test(file) ? file : join(directory, file))), data: [`LABEL=pg:/pg:${type}`] };
}

/** This host, as a guest of QEMU's user network sees it. */
const QEMUS_HOST = '10.0.2.2';

const SERVERS: readonly Server[] = [
  { name: 'redis, xfs on NVMe', config: () => redisOn('xfs', 'LABEL=data:/data:xfs'), port: 6379, client: redis, bus: 'nvme', cuts: 5 },
  { name: 'redis, btrfs on AHCI', config: () => redisOn('btrfs', 'LABEL=data:/data:btrfs'), port: 6379, client: redis, bus: 'ahci', cuts: 5 },
  { name: 'redis, ext4 on virtio-scsi', config: () => redisOn('ext4', 'LABEL=data:/data:ext4'), port: 6379, client: redis, bus: 'scsi', cuts: 5 },
  { name: 'redis, NFS 4.2', config: (nfsPort) => redisOn('nfs', `${QEMUS_HOST}:/export:/data:nfs,port=${nfsPort}`), port: 6379, client: redis, cuts: 20 },
  {
    ...{ name: 'PostgreSQL, ext4 on NVMe', config: () => postgresOn('ext4'), port: 5432, client: postgres, bus: 'nvme', cuts: 50 },
    ring0: '/usr/local/pgsql/bin/postgres',
  },
];

const DISK_BYTES = 2 ** 30;
const RETRY_MS = 200;
/** A machine has this long to serve, checks of file systems and recovery included. */
const START_SECONDS = 180;
/** Between the first write and the cut, in milliseconds: at random below this. */
const LONGEST_MS = 2500;

const log = createLog();

async function connected(vm: RunningVm, { port, client }: Server): Promise<Connection> {
  const end = performance.now() + START_SECONDS * 1000;
  for (;;) {
    const connection = new Connection(vm.port(port));
    try {
      await client.prepare(connection);
      return connection;
    } catch (error) {
      connection.close();
      if (vm.state === 'ended' || performance.now() > end) throw error;
      await setTimeout(RETRY_MS);
    }
  }
}

/** What the numbers say: those that were promised are there, and none that was never sent. */
function check(numbers: readonly number[], promised: number, sent: number): string | undefined {
  const wrong = numbers.findIndex((number, index) => number !== index + 1);
  if (wrong >= 0) return `number ${wrong + 1} is ${numbers[wrong]}`;
  if (numbers.length < promised) return `${promised} were promised, ${numbers.length} are there`;
  return numbers.length > sent ? `${sent} were sent, ${numbers.length} are there` : undefined;
}

async function cut(image: string, disk: string, server: Server, before: { promised: number; sent: number }): Promise<{ promised: number; sent: number }> {
  await using vm = await run(image, {
    accel: 'tcg',
    machine: 'q35',
    attach: server.bus === undefined ? [] : [`${disk}:${server.bus}`],
    ports: [`0:${server.port}`],
    timeout: 2 * START_SECONDS,
  });
  vm.stdout.resume();
  vm.stderr.resume();
  const connection = await connected(vm, server);
  const numbers = await server.client.list(connection);
  const wrong = check(numbers, before.promised, before.sent);
  if (wrong !== undefined) throw new Error(wrong);
  let promised = numbers.length;
  let sent = promised;
  const killed = setTimeout(Math.random() * LONGEST_MS).then(() => vm.kill());
  try {
    for (;;) {
      sent++;
      await server.client.keep(connection, sent);
      promised = sent;
    }
  } catch {
    // the cut
  }
  await killed;
  connection.close();
  await vm.result;
  return { promised, sent };
}

const { values, positionals } = parseArgs({ options: { cuts: { type: 'string' } }, allowPositionals: true });
await using scratch = await makeScratch('power');
const chosen = SERVERS.filter(({ name }) => positionals.length === 0 || positionals.some((word) => name.includes(word)));
await using nfs = chosen.some(({ bus }) => bus === undefined) ? await NfsServer.start(scratch.path) : undefined;
const tried = new Cases(log);
for (const server of chosen) {
  const cuts = Number(values.cuts ?? server.cuts);
  const image = join(scratch.path, 'image');
  await build(await server.config(nfs?.port ?? 0), {
    log,
    out: image,
    container: 'elf',
    profile: 'hardware',
    ...(server.ring0 === undefined ? {} : { ring0: [server.ring0] }),
  });
  const disk = join(scratch.path, `disk-${tried.rows.length}`);
  const file = await open(disk, 'wx');
  await file.truncate(DISK_BYTES);
  await file.close();
  await tried.try([server.name, String(cuts)], async () => {
    let state = { promised: 0, sent: 0 };
    // Once more than there are cuts: each start looks at what the last cut has left.
    for (let round = 1; round <= cuts + 1; round++) {
      state = await cut(image, disk, server, state).catch((error: unknown) => {
        throw new Error(`after cut ${round - 1}: ${error instanceof Error ? error.message : String(error)}`);
      });
      log.info(`${server.name}: start ${round}, ${state.promised} numbers promised`);
    }
    return `all of ${state.promised}`;
  });
}
if (positionals.length === 0 && values.cuts === undefined) {
  await writeWholeNote(
    'power.md',
    `# Power cuts

\`npx tsx test/power/run.ts\`, the last time it was run. A server in ring 0, on a kernel of the profile \`hardware\`, writes numbers down on a disk of its own until QEMU is killed, at a
random time up to ${LONGEST_MS / 1000} s after the first; then it is started again. QEMU's own cache survives, as the host goes on: what is tried is what the guest has written, and in which order.
The NFS server is Debian's NFS-Ganesha on the host, which is not killed.

| server | cuts | numbers that it had promised to keep, and had after the last cut |
| --- | --- | --- |
${tried.rows.join('\n')}
`,
  );
}
tried.end();
