// SPDX-License-Identifier: MIT
import { asUklError } from '../../src/lib/errors.js';

/** Runs a command of the test directory to its exit status; 2, and what went wrong, if it could not do its work. */
export async function exitWith(main: () => Promise<number>): Promise<void> {
  process.exitCode = await main().catch((error: unknown) => {
    const { message, details, log, hint } = asUklError(error);
    process.stderr.write(`${[message, details, log && `log: ${log}`, hint].filter((line) => line).join('\n')}\n`);
    return 2;
  });
}
