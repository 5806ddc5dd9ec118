// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

/**
 * redis' own tests, in the guest: tclsh in ring 3 starts the servers, which are
 * linked with our C library, in ring 0, and talks to them over loopback.
 */
export default defineConfig({
  name: 'redis-suite',
  debianSource: 'redis',
  buildPackages: ['tcl', 'procps'],
  build: ['make -j"$JOBS" MALLOC=libc OPTIMIZATION=-O2 LDFLAGS=-static USE_SYSTEMD=no USE_SYSTEM_JEMALLOC=no USE_SYSTEM_LUA=no USE_SYSTEM_HIREDIS=no'],
  program: '/usr/bin/tclsh',
  args: ['tests/test_helper.tcl', '--clients', '1', '--single', 'unit/type/list'],
  cwd: '/t',
  ring: 3,
  ring0: ['/t/src/redis-server'],
  libc: 'ukl',
  files: [
    '$BUILD/tests:/t/tests',
    ...['server', 'cli', 'benchmark', 'check-aof', 'check-rdb'].map((name) => `$BUILD/src/redis-${name}:/t/src/redis-${name}`),
    '/usr/share/tcltk/tcl8.6',
    ...['sh', 'cat', 'cp', 'date', 'env', 'grep', 'head', 'kill', 'ls', 'mkdir', 'mv', 'ps', 'rm', 'sleep', 'tail', 'touch', 'tr', 'uname', 'wc'].map(
      (name) => `/usr/bin/${name}`,
    ),
  ],
  memory: '2G',
  cpus: 2,
});
