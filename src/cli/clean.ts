// SPDX-License-Identifier: MIT
import { formatSize } from '../lib/size.js';
import { EXIT } from '../model/exit-status.js';
import { clean } from '../store/clean.js';
import { type GlobalOptions, printJson } from './output.js';

export interface CleanFlags extends GlobalOptions {
  readonly store?: boolean;
  readonly dryRun?: boolean;
}

/** `ukl clean`: removes a project's .ukl directory, with --store all that was built. */
export async function cleanCommand(directory: string, flags: CleanFlags): Promise<number> {
  const { removed, entries, bytes } = await clean(directory, flags);
  if (flags.json) printJson({ ok: true, removed, bytes, dryRun: flags.dryRun === true });
  else if (!flags.quiet) {
    for (const entry of entries) process.stdout.write(`${formatSize(entry.bytes).padStart(10)}  ${entry.name}\n`);
    process.stdout.write(`${flags.dryRun ? 'would remove' : 'removed'}: ${removed.join(', ')}${flags.store ? ` (${formatSize(bytes)})` : ''}\n`);
    if (!flags.store) process.stdout.write('kernels and sources stay in the store; ukl clean --store removes them\n');
  }
  return EXIT.ok;
}
