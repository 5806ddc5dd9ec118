// SPDX-License-Identifier: MIT
/** The control group that an engine wants a container in. Its limits are the machine's: memory and processors. */

import { existsSync } from 'node:fs';
import { mkdir, readdir, rmdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

const ROOT = '/sys/fs/cgroup';

/** systemd's SLICE:PREFIX:NAME as the path that systemd would make of it: a-b.slice is in a.slice (systemd.slice(5)). */
function expand(path: string): string {
  const [slice = '', prefix = '', name = ''] = path.split(':');
  const parts = slice
    .replace(/\.slice$/, '')
    .split('-')
    .filter((part) => part !== '');
  const slices = parts.map((_, index) => `${parts.slice(0, index + 1).join('-')}.slice`);
  return join('/', ...slices, name.endsWith('.slice') ? name : `${prefix}-${name}.scope`);
}

/** As cgroupsPath names it, below the root of each hierarchy. */
export const groupOf = (path: string): string => resolve('/', /^[^/]*:[^/]*:[^/]+$/.test(path) ? expand(path) : path);

/** Of version 2, the one hierarchy; of version 1, all. */
async function hierarchies(): Promise<string[]> {
  if (existsSync(join(ROOT, 'cgroup.procs'))) return [ROOT];
  const names = await readdir(ROOT, { withFileTypes: true }).catch(() => []);
  // Nobody enters a new group of cpuset's before it is told its processors and nodes.
  return names.filter((entry) => entry.isDirectory() && entry.name !== 'cpuset').map(({ name }) => join(ROOT, name));
}

/** Moves a process there; what it starts from then on is there as well. Returns the hierarchies where that is refused. */
export async function joinGroup(path: string, pid: number): Promise<string[]> {
  const refused: string[] = [];
  for (const hierarchy of await hierarchies()) {
    const group = join(hierarchy, groupOf(path));
    try {
      await mkdir(group, { recursive: true });
      await writeFile(join(group, 'cgroup.procs'), String(pid));
    } catch {
      refused.push(hierarchy);
    }
  }
  return refused;
}

/** Removes what `joinGroup` made, where nobody is any more. */
export async function leaveGroup(path: string): Promise<void> {
  for (const hierarchy of await hierarchies()) await rmdir(join(hierarchy, groupOf(path))).catch(() => {});
}
