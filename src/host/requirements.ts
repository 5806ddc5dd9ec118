// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { mkdir, readFile, statfs } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import type { Log } from '../lib/log.js';
import { storeRoot } from '../lib/paths.js';
import { formatSize } from '../lib/size.js';

/** One requirement: what was looked for, what was found, why, and the mend. */
export interface ProbeResult {
  readonly name: string;
  readonly ok: boolean;
  /** A missing one stops the work; others only make something slower or unavailable. */
  readonly required: boolean;
  readonly found: string;
  readonly why: string;
  readonly fix?: string;
}

interface Requirement {
  readonly package: string;
  readonly why: string;
  /** A file that the package brings; dpkg is asked where this is undefined. */
  readonly file?: string;
}

/** The Debian packages that building and running need, in one table. */
export const requirements: readonly Requirement[] = [
  { package: 'linux-source-6.12', why: 'the kernel that the series is applied to', file: '/usr/src/linux-source-6.12.tar.xz' },
  { package: 'glibc-source', why: 'the C library that programs are linked with', file: '/usr/src/glibc/glibc-2.36.tar.xz' },
  { package: 'qemu-system-x86', why: 'the virtual machine monitor', file: '/usr/bin/qemu-system-x86_64' },
  { package: 'gcc', why: 'compiles the kernel and C programs', file: '/usr/bin/gcc' },
  { package: 'libc6-dev', why: "headers and libc.a for programs and for the guest's init", file: '/usr/lib/x86_64-linux-gnu/libc.a' },
  { package: 'make', why: 'drives the kernel build', file: '/usr/bin/make' },
  { package: 'flex', why: "Kconfig's scanner", file: '/usr/bin/flex' },
  { package: 'bison', why: "Kconfig's parser", file: '/usr/bin/bison' },
  { package: 'gawk', why: "scripts of the C library's build", file: '/usr/bin/gawk' },
  { package: 'python3-minimal', why: "scripts of the C library's build", file: '/usr/bin/python3' },
  { package: 'bc', why: "the kernel's time constants", file: '/usr/bin/bc' },
  { package: 'perl', why: 'scripts of the kernel build', file: '/usr/bin/perl' },
  { package: 'libelf-dev', why: 'objtool reads object files', file: '/usr/include/libelf.h' },
  { package: 'xz-utils', why: 'unpacks the kernel source', file: '/usr/bin/xz' },
  { package: 'lz4', why: 'compresses the kernel', file: '/usr/bin/lz4' },
  { package: 'patch', why: 'applies the series', file: '/usr/bin/patch' },
  { package: 'e2fsprogs', why: 'makes the ext4 file systems of --disk', file: '/sbin/mkfs.ext4' },
];

const SOURCE_BYTES = 3 * 1024 ** 3;
const BUILD_MEMORY = 2 * 1024 ** 3;

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
export async function ensurePackages(log: Log, wanted: readonly Requirement[] = requirements, signal?: AbortSignal): Promise<void> {
  const missing = await missingPackages(wanted);
  if (missing.length === 0) return;
  const names = missing.map((one) => one.package);
  const command = `apt-get install -y --no-install-recommends ${names.join(' ')}`;
  const elevate = existsSync('/usr/bin/apt-get') ? await becomeRoot() : undefined;
  if (!elevate) {
    throw new UklError('UKL_PACKAGES', `these Debian packages are missing: ${names.join(', ')}`, {
      hint: `sudo ${command}`,
      details: missing.map((one) => `${one.package}: ${one.why}`).join('\n'),
      exitCode: 125,
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
      exitCode: 125,
    });
  }
}

async function versionOf(name: string): Promise<string> {
  try {
    const out = await exec('dpkg-query', ['-W', '-f', '${Version}', name]);
    return out.trim() || 'present';
  } catch {
    return 'present';
  }
}

/** Every requirement of the host but the accelerator, in the order of use. */
export async function probeHost(): Promise<ProbeResult[]> {
  const results: ProbeResult[] = [];
  const major = Number(process.versions.node.split('.')[0]);
  results.push({
    name: 'node',
    ok: major >= 20,
    required: true,
    found: process.versions.node,
    why: 'runs ukl itself (20 or newer)',
  });
  results.push({
    name: 'machine',
    ok: process.arch === 'x64' && process.platform === 'linux',
    required: true,
    found: `${process.platform} ${process.arch}`,
    why: 'programs for x86-64 Linux are compiled and resolved here',
  });
  for (const requirement of requirements) {
    const ok = requirement.file === undefined || existsSync(requirement.file);
    results.push({
      name: requirement.package,
      ok,
      required: true,
      found: ok ? await versionOf(requirement.package) : 'missing',
      why: requirement.why,
      ...(ok ? {} : { fix: `sudo apt-get install -y --no-install-recommends ${requirement.package}` }),
    });
  }
  await mkdir(storeRoot(), { recursive: true });
  const disk = await statfs(storeRoot());
  const free = disk.bavail * disk.bsize;
  results.push({
    name: 'disk',
    ok: free >= SOURCE_BYTES,
    required: true,
    found: `${formatSize(free)} free in ${storeRoot()}`,
    why: `kernel source and build take about ${formatSize(SOURCE_BYTES)}`,
    ...(free >= SOURCE_BYTES ? {} : { fix: 'free some space, or set UKL_STORE to a directory on a larger disk' }),
  });
  const available = await readFile('/proc/meminfo', 'utf8')
    .then((text) => Number(/MemAvailable:\s+(\d+)/.exec(text)?.[1]) * 1024)
    .catch(() => freemem());
  results.push({
    name: 'memory',
    ok: available >= BUILD_MEMORY,
    required: false,
    found: `${formatSize(available)} available of ${formatSize(totalmem())}`,
    why: `the kernel build uses up to ${formatSize(BUILD_MEMORY)}`,
  });
  return results;
}
