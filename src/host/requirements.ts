// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import type { Log } from '../lib/log.js';
import { storeRoot } from '../lib/paths.js';
import type { Requirement } from '../model/index.js';

/** Each package once, in the order in which it was first asked for. */
export function distinct(all: readonly Requirement[]): readonly Requirement[] {
  const first = new Map<string, Requirement>();
  for (const one of all) if (!first.has(one.package)) first.set(one.package, one);
  return [...first.values()];
}

async function missingPackages(wanted: readonly Requirement[]): Promise<Requirement[]> {
  const missing: Requirement[] = [];
  for (const one of wanted) {
    const there =
      one.file !== undefined ? existsSync(one.file) : (await exec('dpkg-query', ['-W', '-f', '${Status}', one.package]).catch(() => '')).endsWith(' installed');
    if (!there) missing.push(one);
  }
  return missing;
}

async function becomeRoot(): Promise<readonly string[] | undefined> {
  if (process.getuid?.() === 0) return [];
  try {
    await exec('sudo', ['-n', 'true']);
    return ['sudo', '-n'];
  } catch {
    return undefined;
  }
}

/**
 * Installs Debian packages that are missing, or says what to type.
 *
 * @throws UKL_PACKAGES before any work if we may not install
 */
export async function ensurePackages(log: Log, wanted: readonly Requirement[], signal?: AbortSignal): Promise<void> {
  const missing = await missingPackages(distinct(wanted));
  if (missing.length === 0) return;
  const names = missing.map((one) => one.package);
  const command = `apt-get install -y --no-install-recommends ${names.join(' ')}`;
  const elevate = existsSync('/usr/bin/apt-get') ? await becomeRoot() : undefined;
  if (!elevate) {
    throw new UklError('UKL_PACKAGES', `these Debian packages are missing: ${names.join(', ')}`, {
      hint: `sudo ${command}`,
      details: missing.map((one) => `${one.package}: ${one.why}`).join('\n'),
    });
  }
  const apt = async (args: readonly string[], progress: (detail: string) => void): Promise<void> => {
    await exec(elevate[0] ?? 'env', [...elevate.slice(1), ...(elevate.length ? ['env'] : []), 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args], {
      log: `${storeRoot()}/logs/apt.log`,
      errorCode: 'UKL_PACKAGES',
      hint: `sudo apt-get update && sudo ${command}`,
      onLine: (line) => progress(line.slice(0, 60)),
      signal,
    });
  };
  await mkdir(`${storeRoot()}/logs`, { recursive: true });
  await log.step(`install ${names.length} Debian packages`, async (progress) => {
    const install = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', ...names];
    try {
      await apt(install, progress);
    } catch {
      // The package lists may be missing or old: the archive moves on.
      signal?.throwIfAborted();
      await apt(['update'], progress);
      await apt(install, progress);
    }
  });
  const still = await missingPackages(wanted);
  if (still.length > 0) {
    throw new UklError('UKL_PACKAGES', `installed, but still not there: ${still.map((one) => one.file ?? one.package).join(', ')}`, {
      hint: 'ukl doctor',
    });
  }
}
