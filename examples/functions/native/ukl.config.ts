// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

// Any program that speaks HTTP: this one is C.
export default defineConfig({
  name: 'native',
  sources: ['../../http/http.c'],
  memory: '96M',
  function: { port: 80, concurrency: 8, timeout: '5s', retries: 2, probe: '/' },
});
