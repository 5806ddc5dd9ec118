// SPDX-License-Identifier: MIT
import { defineConfig } from 'vitest/config';

/** What does come may come late on a busy machine. */
const PATIENCE = { testTimeout: 60_000, expect: { poll: { timeout: 30_000 } } } as const;

export default defineConfig({
  test: {
    reporters: ['default', './test/reporter.ts'],
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], ...PATIENCE } },
      {
        test: {
          name: 'boot',
          include: ['test/boot/**/*.test.ts'],
          // Two guests at a time fill two cores; a guest that hangs is ended by its own timeout.
          fileParallelism: false,
          maxConcurrency: 2,
          ...PATIENCE,
          testTimeout: 180_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
