// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

/** An echo server in ring 0, with plain sockets, and a client in ring 3 that measures it. */
export default defineConfig({
  name: 'echo',
  build: ['$CC -O2 -static -o .ukl/echo echo.c', '$CC -O2 -static -o .ukl/client client.c'],
  program: '.ukl/echo',
  args: ['/app/client'],
  files: ['.ukl/client:/app/client'],
});
