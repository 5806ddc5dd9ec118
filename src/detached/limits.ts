// SPDX-License-Identifier: MIT
/** A share of the processors, by a control group (Documentation/admin-guide/cgroup-v2.rst). */
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, UklError } from '../lib/errors.js';

const ROOT = '/sys/fs/cgroup';
const PERIOD_US = 100_000;

/** The group that this process is in, where it may make others. */
async function ownGroup(): Promise<string> {
  const line = /^0::(.*)$/m.exec(await readFile('/proc/self/cgroup', 'utf8'));
  return join(ROOT, line?.[1] ?? '/');
}

/**
 * Moves this process, and what it starts from now on, into a group that gets so many processors' time.
 *
 * @throws UKL_HOST where that is not allowed
 */
export async function joinCpuLimit(name: string, cpus: number): Promise<void> {
  const group = join(await ownGroup(), `ukl-${name}-${process.pid}`);
  try {
    await mkdir(group);
    await writeFile(join(group, 'cpu.max'), `${Math.max(1000, Math.round(cpus * PERIOD_US))} ${PERIOD_US}`);
    await writeFile(join(group, 'cgroup.procs'), String(process.pid));
  } catch (error) {
    await rmdir(group).catch(() => {});
    throw new UklError('UKL_HOST', `processors cannot be limited here: ${group} (${errnoOf(error) ?? 'unknown'})`, {
      hint: 'start it in a group that is yours: systemd-run --user --scope -p Delegate=yes ukl run ...; or leave --cpu-limit out',
      cause: error,
    });
  }
}
