// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The first file in PATH of a program's name. */
export const findInPath = (program: string): string | undefined =>
  (process.env.PATH ?? '')
    .split(delimiter)
    .map((directory) => join(directory, program))
    .find((path) => existsSync(path));

/** Whether PATH has a program. */
export const inPath = (program: string): boolean => findInPath(program) !== undefined;
