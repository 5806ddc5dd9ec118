// SPDX-License-Identifier: MIT
import { relative, resolve } from 'node:path';
import { EXIT } from '../model/exit-status.js';
import { init } from '../project/init.js';
import { type GlobalOptions, printJson } from './output.js';

/** `ukl init`: writes a project to start from. */
export async function initCommand(directory: string, flags: GlobalOptions): Promise<number> {
  const files = await init(directory);
  const shown = relative(process.cwd(), resolve(directory)) || '.';
  if (flags.json) printJson({ ok: true, directory: resolve(directory), files });
  else if (!flags.quiet) process.stdout.write(`${shown}: ${files.join(', ')}\nnext: ukl dev ${shown}\n`);
  return EXIT.ok;
}
