// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

/** The echo server next door, with shortcuts: `diff -r examples/echo examples/shortcut`. */
export default defineConfig({
  name: 'shortcut',
  build: ['$CC -O2 -static -o .ukl/echo echo.c', '$CC -O2 -static -o .ukl/client ../echo/client.c'],
  program: '.ukl/echo',
  args: ['/app/client'],
  files: ['.ukl/client:/app/client'],
  shortcuts: ['tcp'],
});
