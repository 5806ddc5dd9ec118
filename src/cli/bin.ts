#!/usr/bin/env node
// SPDX-License-Identifier: MIT
import { main } from './main.js';

// A reader that has gone (| head) is no failure, and a guest goes on without it. A full disk is one.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  process.stderr.write(`✖ could not write to standard output: ${error.code}\n`);
  process.exit(1);
});

process.exitCode = await main(process.argv.slice(2));
