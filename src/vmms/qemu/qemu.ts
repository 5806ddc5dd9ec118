// SPDX-License-Identifier: MIT
/** QEMU as a VMM: a microVM by KVM, or by emulation. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoOf, UklError } from '../../lib/errors.js';
import { LEASH } from '../../lib/leash.js';
import { listen } from '../../lib/listen.js';
import { inPath } from '../../lib/which.js';
import type { Machine } from '../../model/index.js';
import { type ChannelName, channelsOf, type StartOptions, type Vmm, type VmmExit, type VmmProcess } from '../vmm.js';
import { chooseAccel, probeDevice, probeKvm } from './accel.js';
import { netdevOf, QEMU, qemuArgs } from './args.js';
import { checkCpu, defaultCpu } from './cpu.js';
import { firmwareRequirements, VARIABLES, variablesOf } from './firmware.js';
import { SessionPorts } from './ports.js';
import { Qmp } from './qmp.js';
import { identity, loadState, saveMemory, saveState } from './state.js';

function preloads(library: string): string {
  return [library, process.env.LD_PRELOAD].filter(Boolean).join(':');
}

/** setpriv only says "status 127" of a program that is not there. */
function requireQemu(): void {
  if (inPath(QEMU)) return;
  throw new UklError('UKL_VMM', `could not start QEMU: there is no ${QEMU} in PATH`, {
    hint: 'sudo apt-get install -y --no-install-recommends qemu-system-x86',
  });
}

async function start(machine: Machine, options: StartOptions): Promise<VmmProcess> {
  requireQemu();
  const { directory, preload } = options;
  const variables = variablesOf(machine.firmware);
  // What the firmware changes of its variables is this machine's own.
  if (variables !== undefined) await copyFile(variables, join(directory, VARIABLES));
  const servers: Server[] = [];
  const channels: Partial<Record<ChannelName, Promise<Socket>>> = {};
  // Promises in an object: an async function would wait for what it returns.
  const opened = async (name: string): Promise<{ readonly socket: Promise<Socket> }> => {
    const server = await listen(join(directory, name));
    servers.push(server);
    return { socket: new Promise((resolve) => server.once('connection', resolve)) };
  };
  for (const name of channelsOf(machine.transport)) channels[name] = (await opened(name)).socket;
  const qmp = (await opened('qmp')).socket.then((socket) => new Qmp(socket));

  const ports = new SessionPorts(directory);
  const [leash, ...args] = LEASH;
  const close = (): void => {
    for (const server of servers) server.close();
  };
  let child: ChildProcessByStdio<null, null, Readable>;
  try {
    child = spawn(leash, [...args, QEMU, ...qemuArgs(machine, directory)], {
      stdio: ['ignore', 'ignore', 'pipe'],
      // A process group of its own keeps the terminal's Ctrl-C from it.
      detached: true,
      ...(preload === undefined ? {} : { env: { ...process.env, LD_PRELOAD: preloads(preload) } }),
    });
  } catch (error) {
    // E2BIG, for one, is thrown at once.
    close();
    throw new UklError('UKL_VMM', `could not start QEMU: ${errnoOf(error) ?? String(error)}`, { hint: 'fewer or shorter words', cause: error });
  }
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const exit = new Promise<VmmExit>((resolve, reject) => {
    child.once('error', (error) =>
      reject(new UklError('UKL_VMM', `could not start QEMU: ${errnoOf(error) ?? error.message}`, { hint: 'ukl doctor', cause: error })),
    );
    child.once('close', (code, signal) => resolve({ code, signal, stderr: stderr.trim().replace(/^qemu-system-x86_64: /gm, '') }));
  }).finally(() => {
    // A channel that is not connected by now never will be.
    close();
  });
  return {
    channels,
    exit,
    pause: async () => (await qmp).pause(),
    resume: async () => (await qmp).resume(),
    saveMemory: async (address, bytes, file) => (await qmp).saveMemory(address, bytes, file),
    openPort: async () => ports.open(await qmp),
    get sessions() {
      return ports.count;
    },
    pid: child.pid,
    instructionPointers: async () => (await qmp).instructionPointers(),
    exits: async () => (await qmp).exits(),
    save: async ({ memory, state }) => {
      await saveState(await qmp, state);
      await saveMemory(await qmp, machine.memoryMiB * 1024 ** 2, memory);
    },
    connectNetworks: async (up) => {
      for (const [index, { kind }] of machine.nics.entries()) if (kind !== 'user') await (await qmp).setLink(netdevOf(index), up);
    },
    loadState: async (file) => loadState(await qmp, directory, file),
    kill: () => void child.kill('SIGKILL'),
  };
}

export const qemu: Vmm = {
  name: 'qemu',
  title: 'QEMU',
  requirements: [{ package: 'qemu-system-x86', why: 'the virtual machine monitor', file: '/usr/bin/qemu-system-x86_64' }],
  firmwareRequirements,
  supports: {
    boot: ['linux', 'pvh', 'efi', 'disk', 'cdrom'],
    machines: { microvm: ['none'], q35: ['bios', 'uefi', 'secure-boot'], pc: ['bios', 'uefi'] },
    transports: ['virtio-serial', 'isa'],
    nics: ['user', 'tap', 'bridge', 'socket', 'listen'],
    disks: true,
    attached: true,
    shares: true,
    gdb: true,
    icount: true,
    plugins: true,
    snapshots: true,
  },
  // QEMU's documentation, "Network emulation": the user network, which answers DNS as well.
  userNetwork: (nth) => ({ addresses: [`10.0.${2 + nth}.15/24`], gateways: [`10.0.${2 + nth}.2`], dns: [`10.0.${2 + nth}.3`] }),
  chooseAccel: (choice, kernel, log) =>
    chooseAccel(choice, () => (kernel === undefined ? probeDevice(choice) : log.step('try KVM', () => probeKvm(kernel, qemu)))),
  defaultCpu,
  identity,
  checkCpu,
  command: (machine, { directory, preload }) => [...(preload === undefined ? [] : [`LD_PRELOAD=${preload}`]), QEMU, ...qemuArgs(machine, directory)],
  start,
};
