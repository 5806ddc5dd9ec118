// SPDX-License-Identifier: MIT
/** `ukl metrics` */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { guestMetrics } from '../../detached/metrics.js';
import { checkPorts, parsePort } from '../../devices/ports.js';
import { asUklError } from '../../lib/errors.js';
import { projectRoot } from '../../lib/paths.js';
import { EXPOSITION_TYPE } from '../../lib/prometheus.js';
import { EXIT } from '../../model/exit-status.js';
import { type GlobalOptions, logFor } from '../output.js';

export interface MetricsFlags extends GlobalOptions {
  readonly listen?: string;
  readonly dashboard?: boolean;
}

/** Prints the numbers once, or serves them until it is interrupted. */
export async function metricsCommand(flags: MetricsFlags, signal: AbortSignal): Promise<number> {
  if (flags.dashboard) {
    process.stdout.write(await readFile(join(projectRoot, 'templates/grafana.json')));
    return EXIT.ok;
  }
  if (flags.listen === undefined) {
    process.stdout.write(await guestMetrics());
    return EXIT.ok;
  }
  const { address, host } = parsePort(`${flags.listen}:1`);
  await checkPorts([{ address, host, guest: 1, protocol: 'tcp' }]);
  const server = createServer((request, response) => {
    if (request.url !== '/metrics') response.writeHead(404).end('/metrics\n');
    else
      guestMetrics().then(
        (text) => response.writeHead(200, { 'content-type': EXPOSITION_TYPE }).end(text),
        (error: unknown) => response.writeHead(500).end(`${asUklError(error).message}\n`),
      );
  });
  server.listen(host, address.replace(/^\[|\]$/g, ''));
  await once(server, 'listening');
  const bound = server.address();
  logFor(flags).info(`http://${address}:${bound !== null && typeof bound === 'object' ? bound.port : host}/metrics`);
  if (!signal.aborted) await once(signal, 'abort');
  server.close();
  server.closeAllConnections();
  return EXIT.ok;
}
