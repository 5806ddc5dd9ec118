// SPDX-License-Identifier: MIT
/** The supervisor's process: `node supervisor.js NAME`, with a pipe to its parent as file 3. */
import { asUklError } from '../lib/errors.js';
import { specOf } from './record.js';
import { tellParent } from './spawn.js';
import { Supervisor } from './supervisor.js';

const supervisor = new Supervisor(await specOf(process.argv[2] ?? ''));
// The machine is shut down, or somebody ends us by hand: the guest ends as with `ukl stop`.
for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => void supervisor.stop(10));
// The terminal that it was started from is none of its business.
process.on('SIGHUP', () => {});

try {
  const exitCode = await supervisor.supervise(() => tellParent({ started: true }));
  tellParent({ started: true });
  process.exitCode = exitCode;
} catch (error) {
  const { code, message, hint, details, log } = asUklError(error);
  process.stderr.write(`${message}\n`);
  tellParent({ error: { code, message, hint, details, log } });
  process.exitCode = 1;
}
