// SPDX-License-Identifier: MIT
/**
 * What the runtime leaves behind, with a pipe to it as file 3:
 *
 *     node container.js run ROOT ID IMAGE      the container's process
 *     node container.js exec ROOT ID           a further program's
 */
import type { SessionRequest } from '../guest/spec.js';
import { asUklError } from '../lib/errors.js';
import { silentLog } from '../lib/log.js';
import { EXIT } from '../model/exit-status.js';
import { Parent } from './child.js';
import { beginSession, lendStreams } from './exec.js';
import { ContainerProcess } from './process.js';
import { Place } from './record.js';

const [mode = '', root = '', id = '', image = ''] = process.argv.slice(2);
const place = new Place(root, id);
const parent = new Parent();
// Who reads the container's output may go away: the guest goes on.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

async function begin(): Promise<() => Promise<number>> {
  const request = await parent.request();
  if (mode === 'run') {
    const container = await ContainerProcess.begin(place, image, { ...silentLog, warn: (text) => void process.stderr.write(`ukl: ${text}\n`) });
    return () => container.end;
  }
  const asked = request as SessionRequest;
  const session = await beginSession(place, asked);
  return () => lendStreams(session, asked.terminal !== undefined);
}

try {
  const end = await begin();
  parent.tell({ begun: true });
  if (!(await parent.kept())) process.exit(EXIT.beforeRun);
  process.exit(await end());
} catch (error) {
  const { code, message, hint, details } = asUklError(error);
  parent.tell({ error: { code, message, hint, details } });
  process.exitCode = EXIT.beforeRun;
}
