// SPDX-License-Identifier: MIT
/** The state of a machine's devices, on its way between QEMU and a file: QEMU's migration, by a socket. */
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { hashFileOnce, hashValue } from '../../lib/hash.js';
import { listen } from '../../lib/listen.js';
import { findInPath } from '../../lib/which.js';
import type { Accel } from '../../model/index.js';
import { QEMU } from './args.js';
import type { Qmp } from './qmp.js';

/** In the machine's directory. */
const SOCKET = 'state';

export async function saveState(qmp: Qmp, directory: string, file: string): Promise<void> {
  const path = join(directory, SOCKET);
  const server = await listen(path);
  try {
    const connected = new Promise<Socket>((resolve) => server.once('connection', resolve));
    await qmp.migrate('migrate', path, async () => pipeline(await connected, createWriteStream(file)));
  } finally {
    server.close();
  }
}

export async function loadState(qmp: Qmp, directory: string, file: string): Promise<void> {
  const path = join(directory, SOCKET);
  const state = await readFile(file);
  await qmp.migrate('migrate-incoming', path, async () => {
    // QEMU closes it once it has all, and says itself how that went.
    connect(path)
      .on('error', () => {})
      .end(state);
  });
}

/** What only that QEMU, and with KVM only that processor, goes on with. */
export async function identity(accel: Accel): Promise<Readonly<Record<string, string>>> {
  const qemu = findInPath(QEMU);
  const program = { QEMU: qemu === undefined ? '' : await hashFileOnce(qemu) };
  if (accel === 'tcg') return program;
  const cpuinfo = await readFile('/proc/cpuinfo', 'utf8');
  return { ...program, processor: hashValue([/^model name.*$/m, /^microcode.*$/m, /^flags.*$/m].map((line) => line.exec(cpuinfo)?.[0])) };
}
