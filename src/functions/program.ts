// SPDX-License-Identifier: MIT
/** The gateway as a program of its own, in a guest: the functions are elsewhere, and $UKL_FUNCTIONS says where. */
import { GATEWAY_PORT, GATEWAY_STATUS_PORT, startGateway } from './gateway.js';
import { readRemotes } from './remote.js';

const gateway = await startGateway(readRemotes(process.env.UKL_FUNCTIONS ?? '', 'UKL_FUNCTIONS'), {
  port: GATEWAY_PORT,
  address: '0.0.0.0',
  statusPort: GATEWAY_STATUS_PORT,
  statusAddress: '0.0.0.0',
  // Nothing runs here but requests.
  max: Number.POSITIVE_INFINITY,
  onLine: (line) => console.log(line),
});
process.once('SIGTERM', () => void gateway.close().then(() => process.exit(0)));
