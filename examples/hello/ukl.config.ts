// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

export default defineConfig({
  name: 'hello',
  sources: ['hello.c'],
  // A kernel with nothing that it does not need: docs/fit.md
  profile: 'hello',
});
