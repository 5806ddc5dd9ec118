// SPDX-License-Identifier: MIT
import { join } from 'node:path';
import { projectRoot } from '../../lib/paths.js';
import { type Suite, USUAL } from '../suite.js';

const parse = (stdout: string): Record<string, number> => ({ answer: Number(/^(\d+) for each$/m.exec(stdout)?.[1] ?? NaN) });

/** The same server with plain calls, and with shortcuts (docs/shortcuts.md). */
export const echo: Suite = {
  name: 'echo',
  title: 'Echo server',
  packages: [],
  metrics: [{ name: 'answer', title: '64 bytes to and fro over TCP', unit: 'instructions', better: 'less', clock: 'instructions' }],
  workloads: [
    { clock: 'instructions', target: join(projectRoot, 'examples/echo'), variants: USUAL, parse },
    { clock: 'instructions', target: join(projectRoot, 'examples/shortcut'), variants: ['shortcuts'], parse },
  ],
};
