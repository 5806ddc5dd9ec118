// SPDX-License-Identifier: MIT
/** A share of the processors, by a control group (Documentation/admin-guide/cgroup-v2.rst). */
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf, UklError } from '../lib/errors.js';
import { hashValue } from '../lib/hash.js';
import { directoryOf } from './record.js';

const ROOT = '/sys/fs/cgroup';
const PERIOD_US = 100_000;

/** The group that this process is in, where it may make others. */
async function ownGroup(): Promise<string> {
  const line = /^0::(.*)$/m.exec(await readFile('/proc/self/cgroup', 'utf8'));
  return join(ROOT, line?.[1] ?? '/');
}

/** A file of a group's. Where there is no such group, there is none to make. */
const write = (group: string, file: string, text: string): Promise<void> => writeFile(join(group, file), text, { flag: 'r+' });

const enter = (group: string): Promise<void> => write(group, 'cgroup.procs', String(process.pid));

/**
 * Moves this process, and what it starts from now on, into a group that gets so many processors' time.
 *
 * @returns the group, for `leaveGroup`
 * @throws UKL_HOST where that is not allowed
 */
export async function joinCpuLimit(name: string, cpus: number): Promise<string> {
  // The same again if it is there still: its last supervisor was killed.
  const group = join(await ownGroup(), `ukl-${name}-${hashValue(directoryOf(name)).slice(0, 8)}`);
  try {
    await mkdir(group, { recursive: true });
    await write(group, 'cpu.max', `${Math.max(1000, Math.round(cpus * PERIOD_US))} ${PERIOD_US}`);
    await enter(group);
    return group;
  } catch (error) {
    await rmdir(group).catch(() => {});
    throw new UklError('UKL_HOST', `processors cannot be limited here: ${group} (${errnoOf(error) ?? 'unknown'})`, {
      hint: 'start it in a group that is yours: systemd-run --user --scope -p Delegate=yes ukl run ...; or leave --cpu-limit out',
      cause: error,
    });
  }
}

/** Moves this process back to where it came from, and removes the group. */
export async function leaveGroup(group: string): Promise<void> {
  await enter(dirname(group)).catch(() => {});
  await removeGroup(group);
}

/** Removes a group in which nobody is any more; another stays. */
export const removeGroup = (group: string): Promise<void> => rmdir(group).catch(() => {});
