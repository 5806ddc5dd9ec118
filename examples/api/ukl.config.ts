// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

/** A REST API with a database: ./ukl run examples/api, then test it with npm test. */
export default defineConfig({
  entry: 'src/server.ts',
  ports: ['8080:8080'],
  disks: ['data.img:/data'],
});
