// SPDX-License-Identifier: MIT
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    reporters: ['default', './test/reporter.ts'],
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'] } },
      {
        test: {
          name: 'boot',
          include: ['test/boot/**/*.test.ts'],
          // Two guests at a time fill two cores; a guest that hangs is ended by its own timeout.
          fileParallelism: false,
          maxConcurrency: 2,
          testTimeout: 180_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
