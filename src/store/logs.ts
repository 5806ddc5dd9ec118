// SPDX-License-Identifier: MIT
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ownerLives } from '../lib/scratch.js';

/** Logs of runs that are kept. */
const KEPT = 200;

/** Removes the oldest logs of runs, so that the directory stays small. Logs of builds stay as long as their entries. */
export async function pruneLogs(directory: string): Promise<void> {
  const names = (await readdir(directory).catch(() => [])).filter((name) => name.startsWith('run-'));
  if (names.length <= KEPT) return;
  const dated = await Promise.all(
    names.map(async (name) => ({ path: join(directory, name), at: (await stat(join(directory, name)).catch(() => undefined))?.mtimeMs ?? 0 })),
  );
  dated.sort((a, b) => b.at - a.at);
  // Some more than needed, so that not every run has to look; none of a guest that runs.
  for (const { path } of dated.slice(KEPT / 2)) if (ownerLives(basename(path)) !== true) await rm(path, { force: true });
}
