// SPDX-License-Identifier: MIT
import type { Command, OptionValues } from '@commander-js/extra-typings';

/** Flags that every command has. */
export function withGlobals<A extends unknown[], O extends OptionValues>(command: Command<A, O>) {
  return command
    .option('--json', 'print one JSON document on standard output')
    .option('-q, --quiet', 'print no progress, only results and errors')
    .option('--debug', 'print stack traces of errors');
}
