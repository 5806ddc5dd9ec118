// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

/** redis from Debian's source, unmodified. */
export default defineConfig({
  name: 'redis',
  debianSource: 'redis',
  build: ['make -j"$JOBS" MALLOC=libc OPTIMIZATION=-O2 LDFLAGS=-static USE_SYSTEMD=no USE_SYSTEM_JEMALLOC=no USE_SYSTEM_LUA=no USE_SYSTEM_HIREDIS=no'],
  program: 'src/redis-server',
  args: ['--protected-mode', 'no', '--dir', '/tmp'],
});
