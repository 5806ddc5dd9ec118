// SPDX-License-Identifier: MIT
/** A VMM whose guest has a serial console on the VMM's own output, and no other channel. */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { errnoOf, UklError } from '../lib/errors.js';
import { LEASH } from '../lib/leash.js';
import { inPath } from '../lib/which.js';
import type { VmmExit, VmmProcess } from './vmm.js';

const cannot = (title: string, what: string) => async (): Promise<never> => {
  throw new UklError('UKL_VMM', `${title} is not asked to ${what}`, { hint: '--vmm qemu' });
};

/** Starts it. What it cannot be asked for throws UKL_VMM. */
export function startOnConsole(title: string, command: readonly string[], hint: string): VmmProcess {
  const [program = ''] = command;
  const [leash, ...leashed] = LEASH;
  // setpriv only says "status 127" of a program that is not there.
  if (!inPath(program)) throw new UklError('UKL_VMM', `could not start ${title}: there is no ${program} in PATH`, { hint });
  const child = spawn(leash, [...leashed, ...command], { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const exit = new Promise<VmmExit>((resolve, reject) => {
    child.once('error', (error) => reject(new UklError('UKL_VMM', `could not start ${title}: ${errnoOf(error) ?? error.message}`, { hint, cause: error })));
    child.once('close', (code, signal) => resolve({ code, signal, stderr: stderr.trim() }));
  });
  return {
    // A pipe of Node's is a socket.
    channels: { serial: Promise.resolve(child.stdout as unknown as Socket) },
    exit,
    pause: cannot(title, 'pause'),
    resume: cannot(title, 'go on'),
    saveMemory: cannot(title, 'read memory'),
    openPort: cannot(title, 'add a port'),
    sessions: 0,
    pid: child.pid,
    instructionPointers: async () => [],
    exits: async () => undefined,
    save: cannot(title, 'save the machine'),
    connectNetworks: cannot(title, 'connect a network'),
    loadState: cannot(title, 'go on with a saved machine'),
    kill: () => void child.kill('SIGKILL'),
  };
}
