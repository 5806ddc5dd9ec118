// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

export default defineConfig({
  name: 'hello',
  sources: ['hello.c'],
});
