// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

const PREFIX = '/usr/local/pgsql';
/**
 * PostgreSQL from Debian's source, unmodified: initdb, a server with its many
 * processes, all forked in ring 0, and pgbench in ring 3 beside it.
 */
export default defineConfig({
  name: 'postgres',
  debianSource: 'postgresql-15',
  build: [`./configure --prefix=${PREFIX} --without-readline --without-zlib --without-icu`, 'make -s -j"$JOBS"', 'make -s install DESTDIR="$PWD/root"'],
  program: '/bin/dash',
  args: ['/bench.sh'],
  ring: 3,
  ring0: [`${PREFIX}/bin/postgres`],
  files: [
    `$BUILD/root${PREFIX}:${PREFIX}`,
    'bench.sh:/bench.sh',
    ...['sh', 'setpriv', 'mkdir', 'chown', 'cat', 'grep', 'tail', 'tr'].map((name) => `/usr/bin/${name}`),
  ],
  memory: '768M',
  cpus: 2,
});
