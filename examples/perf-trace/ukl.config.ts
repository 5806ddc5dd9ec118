// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

/** Debian's perf, in ring 3, traces the system calls of a program in ring 0, which are calls. */
export default defineConfig({
  name: 'perf-trace',
  kernelConfig: 'kernel.config',
  buildPackages: ['linux-perf'],
  build: ['mkdir -p .ukl', '$CC -O2 -static -o .ukl/worker worker.c'],
  program: '/usr/bin/perf',
  args: ['trace', '--summary', '/app/worker'],
  ring: 3,
  ring0: ['/app/worker'],
  libc: 'host',
  files: ['.ukl/worker:/app/worker'],
  memory: '768M',
});
