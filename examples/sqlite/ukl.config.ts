// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

/** SQLite's own benchmark, from Debian's source, unmodified. */
export default defineConfig({
  name: 'speedtest1',
  debianSource: 'sqlite3',
  buildPackages: ['tcl'],
  build: [
    './configure --disable-tcl --disable-readline',
    'make -j"$JOBS" sqlite3.c',
    '"$CC" -O2 -static -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -I. -o speedtest1 test/speedtest1.c sqlite3.c -lm',
  ],
  program: 'speedtest1',
  args: ['--size', '5', '/tmp/speedtest1.db'],
});
