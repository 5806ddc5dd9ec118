// SPDX-License-Identifier: MIT
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { shellQuote } from '../../lib/shell.js';
import { onConsole } from '../console.js';
import { startOnConsole } from '../process.js';
import type { Vmm } from '../vmm.js';
import { firecrackerConfig } from './config.js';

const HINT = 'github.com/firecracker-microvm/firecracker has releases, 1.12 or later';
const words = (directory: string): readonly string[] => ['firecracker', '--no-api', '--config-file', join(directory, 'config.json')];

export const firecracker: Vmm = {
  ...onConsole('firecracker', 'Firecracker'),
  // Whoever pastes it has no file yet.
  command: (machine) => ['sh', '-c', `echo ${shellQuote(JSON.stringify(firecrackerConfig(machine)))} > config.json && exec ${words('.').join(' ')}`],
  start: async (machine, { directory }) => {
    await writeFile(join(directory, 'config.json'), JSON.stringify(firecrackerConfig(machine), null, 2));
    return startOnConsole('Firecracker', words(directory), HINT);
  },
};
