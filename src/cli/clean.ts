// SPDX-License-Identifier: MIT
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { storeRoot } from '../lib/paths.js';
import { formatSize } from '../lib/size.js';
import { listStore } from '../store/store.js';
import { EXIT } from './exit-status.js';
import { type GlobalOptions, printJson } from './output.js';

export interface CleanFlags extends GlobalOptions {
  readonly store?: boolean;
  readonly dryRun?: boolean;
}

/** `ukl clean`: removes a project's .ukl directory, with --store all that was built. */
export async function cleanCommand(directory: string, flags: CleanFlags): Promise<number> {
  const entries = flags.store ? await listStore() : [];
  const freed = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  const paths = [join(directory, '.ukl'), ...(flags.store ? [storeRoot()] : [])];
  if (!flags.dryRun) for (const path of paths) await rm(path, { recursive: true, force: true });
  if (flags.json) printJson({ ok: true, removed: paths, bytes: freed, dryRun: flags.dryRun === true });
  else if (!flags.quiet) {
    for (const entry of entries) process.stdout.write(`${formatSize(entry.bytes).padStart(10)}  ${entry.name}\n`);
    process.stdout.write(`${flags.dryRun ? 'would remove' : 'removed'}: ${paths.join(', ')}${flags.store ? ` (${formatSize(freed)})` : ''}\n`);
    if (!flags.store) process.stdout.write('kernels and sources stay in the store; ukl clean --store removes them\n');
  }
  return EXIT.ok;
}
