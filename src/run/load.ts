// SPDX-License-Identifier: MIT
/** A command of this host that gives a server in a guest work. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { portsOf } from '../devices/nic.js';
import { UklError } from '../lib/errors.js';
import { LEASH } from '../lib/leash.js';
import type { PortForward } from '../model/index.js';
import type { RunningVm } from './launch.js';

/** The port that a load is for: the guest's first one. Throws UKL_USAGE if it has none. */
export function loadPort(vm: RunningVm): PortForward {
  const [port] = portsOf(vm.plan.machine).filter(({ protocol }) => protocol === 'tcp');
  if (port !== undefined) return port;
  throw new UklError('UKL_USAGE', 'a load needs a port of this host that leads to the guest', {
    hint: '-p 0:8080 (or ports in ukl.config), with the port that the program listens on',
  });
}

/**
 * Runs the command, with the port of this host in PORT, and ends whatever it leaves.
 *
 * @throws UKL_COMMAND with its last words if it fails; the signal's reason
 */
export async function runLoad(command: string, port: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  // A group of its own, so that all that the command started can be ended.
  const [leash, ...leashed] = LEASH;
  const child = spawn(leash, [...leashed, 'sh', '-c', command], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, PORT: String(port) },
    detached: true,
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const end = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // nobody is left
    }
  };
  signal.addEventListener('abort', end, { once: true });
  try {
    const closed = once(child, 'close');
    const [code] = (await once(child, 'exit')) as [number | null];
    end(); // what it left in the background
    await closed;
    signal.throwIfAborted();
    if (code !== 0)
      throw new UklError('UKL_COMMAND', `the load ended with status ${code}: ${command}`, { details: said.trim().split('\n').slice(-5).join('\n') });
  } finally {
    signal.removeEventListener('abort', end);
  }
}
