// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

/** nginx from Debian's source, unmodified: a master and two workers that it forks, all in ring 0. */
export default defineConfig({
  name: 'nginx',
  debianSource: 'nginx',
  buildPackages: ['libpcre2-dev', 'zlib1g-dev'],
  build: [
    './configure --with-cc="$CC" --with-ld-opt=-static --prefix=/srv/nginx --error-log-path=/dev/stderr --with-threads --with-http_stub_status_module',
    'make -s -j"$JOBS"',
  ],
  program: 'objs/nginx',
  args: ['-c', '/etc/nginx.conf'],
  files: ['nginx.conf:/etc/nginx.conf', 'html:/srv/nginx/html', '$BUILD/conf/mime.types:/etc/mime.types'],
});
