// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

const PREFIX = '/usr/local/pgsql';

/**
 * A PostgreSQL server from Debian's source, unmodified, its processes in ring 0, for
 * anybody who connects. What it stores is in memory, unless `data` puts /pg on a disk.
 */
export default defineConfig({
  name: 'postgres-server',
  debianSource: 'postgresql-15',
  build: [`./configure --prefix=${PREFIX} --without-readline --without-zlib --without-icu`, 'make -s -j"$JOBS"', 'make -s install DESTDIR="$PWD/root"'],
  program: '/bin/dash',
  args: ['/serve.sh'],
  ring: 3,
  ring0: [`${PREFIX}/bin/postgres`],
  files: [
    `$BUILD/root${PREFIX}:${PREFIX}`,
    'serve.sh:/serve.sh',
    ...['sh', 'setpriv', 'mkdir', 'chown', 'cat', 'sync', 'rm'].map((name) => `/usr/bin/${name}`),
  ],
  ports: ['5432:5432'],
  memory: '768M',
});
