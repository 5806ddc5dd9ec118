// SPDX-License-Identifier: MIT
import type { Reporter, TestModule } from 'vitest/node';

/** How many of the slowest tests are listed. */
const SLOWEST = 20;

/** Lists the slowest tests and, after everything else, prints the one line that says how the tests went. */
export default class CountingReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    let passed = 0;
    let failed = 0;
    let skipped = 0;
    for (const module of modules) {
      // A file that could not even be loaded has no tests, and has failed.
      if (module.state() === 'failed' && [...module.children.allTests()].length === 0) failed++;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'skipped') skipped++;
        else failed++;
      }
    }
    const slowest = modules
      .flatMap((module) =>
        [...module.children.allTests()].map((test) => ({
          name: `${module.relativeModuleId}: ${test.fullName}`,
          seconds: (test.diagnostic()?.duration ?? 0) / 1000,
        })),
      )
      .sort((a, b) => b.seconds - a.seconds)
      .slice(0, SLOWEST);
    process.once('exit', () => {
      console.log(`the slowest tests\n${slowest.map(({ name, seconds }) => `  ${seconds.toFixed(1).padStart(7)} s  ${name}`).join('\n')}`);
      console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
    });
  }
}
