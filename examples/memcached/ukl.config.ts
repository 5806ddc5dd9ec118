// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

/** memcached from Debian's source, unmodified, with Debian's libevent.a. */
export default defineConfig({
  name: 'memcached',
  debianSource: 'memcached',
  buildPackages: ['libevent-dev'],
  build: ['./configure --disable-docs LDFLAGS=-static', 'make -j"$JOBS" memcached memcached-debug timedrun sizes testapp'],
  program: 'memcached',
  args: ['-u', 'root'],
});
