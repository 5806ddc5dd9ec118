// SPDX-License-Identifier: MIT
/** A project's switch: `node switch.js SOCKET`, until its last guest has gone. */
import { tellParent } from './spawn.js';
import { serveSwitch } from './switch.js';

process.on('SIGHUP', () => {});
const server = await serveSwitch(process.argv[2] ?? '', () => server.close(() => process.exit(0)));
tellParent({ started: true });
