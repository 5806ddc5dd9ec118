// SPDX-License-Identifier: MIT
/** A Node.js that has started, waiting to become the program it was given. */
process.on('SIGINT', () => process.exit(130)); // not yet the program: the default would name a signal
process.once('message', () => {
  process.removeAllListeners('SIGINT');
  process.disconnect();
  process.argv.splice(1, 1);
  require('node:module').runMain();
});
