// SPDX-License-Identifier: MIT
import { defineConfig } from '../../src/index.js';

export default defineConfig({
  name: 'hello',
  sources: ['hello.c'],
});
