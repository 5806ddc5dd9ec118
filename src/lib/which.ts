// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Whether PATH has a program. */
export const inPath = (program: string): boolean => (process.env.PATH ?? '').split(delimiter).some((directory) => existsSync(join(directory, program)));
