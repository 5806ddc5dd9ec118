// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

/** SQLite's own tests: its testfixture, a Tcl shell with the library, runs them in ring 0. */
export default defineConfig({
  name: 'sqlite-suite',
  debianSource: 'sqlite3',
  buildPackages: ['tcl-dev'],
  build: ['./configure --with-tcl=/usr/lib/tcl8.6', 'make -j"$JOBS" testfixture'],
  program: 'testfixture',
  args: ['/t/test/select1.test'],
  cwd: '/tmp',
  files: ['$BUILD/test:/t/test', '$BUILD/ext/fts5/test:/t/ext/fts5/test', '/usr/share/tcltk/tcl8.6'],
  memory: '1G',
  cpus: 2,
});
