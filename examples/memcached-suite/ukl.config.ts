// SPDX-License-Identifier: MIT
import { readdirSync } from 'node:fs';
import { defineConfig } from 'ukl';

const version = readdirSync('/usr/share/perl').find((name) => /^\d+\.\d+$/.test(name)) ?? '';

/**
 * memcached's own tests, in the guest: perl in ring 3 starts the servers, which
 * are linked with our C library, in ring 0.
 */
export default defineConfig({
  name: 'memcached-suite',
  debianSource: 'memcached',
  buildPackages: ['libevent-dev', 'perl'],
  build: ['./configure --disable-docs LDFLAGS=-static', 'make -j"$JOBS" memcached memcached-debug timedrun sizes testapp'],
  program: '/usr/bin/perl',
  args: ['/usr/bin/prove', '--merge', 't'],
  cwd: '/t',
  ring: 3,
  ring0: ['/t/memcached', '/t/memcached-debug'],
  libc: 'ukl',
  files: [
    '$BUILD:/t',
    '/usr/bin/prove',
    `/usr/share/perl/${version}`,
    `/usr/lib/x86_64-linux-gnu/perl/${version}`,
    '/usr/lib/x86_64-linux-gnu/perl-base',
    ...['sh', 'cat', 'rm', 'uname', 'kill'].map((name) => `/usr/bin/${name}`),
  ],
  memory: '1536M',
  cpus: 2,
});
