// SPDX-License-Identifier: MIT
/** Checks this machine against what the registries' entries declare. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, statfs } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import { containers } from '../containers/index.js';
import { requirements as diskRequirements } from '../devices/disk.js';
import { requirements as guestRequirements } from '../guest/programs.js';
import { distinct } from '../host/requirements.js';
import { getKernel } from '../kernels/kernel.js';
import { kernelLines, kernelSpec } from '../kernels/lines.js';
import { exec } from '../lib/exec.js';
import { hashValue } from '../lib/hash.js';
import { silentLog } from '../lib/log.js';
import { storeRoot } from '../lib/paths.js';
import { formatSize } from '../lib/size.js';
import { requirements as libcRequirements } from '../libc/glibc.js';
import type { Requirement } from '../model/index.js';
import type { Context } from '../options/given.js';
import { vmms } from '../vmms/index.js';
import { kvmDeviceProblem, probeKvm } from '../vmms/qemu/accel.js';

/** One requirement, what was found, why it is needed, and how to fix it. */
export interface ProbeResult {
  readonly name: string;
  readonly ok: boolean;
  /** A missing one stops the work; others only make something slower or unavailable. */
  readonly required: boolean;
  readonly found: string;
  readonly why: string;
  readonly fix?: string;
}

const SOURCE_BYTES = 3 * 1024 ** 3;
const BUILD_MEMORY = 2 * 1024 ** 3;

/** What any entry of the registries needs. */
export const allRequirements = (): readonly Requirement[] =>
  distinct([
    ...kernelLines.list().flatMap(({ requirements }) => requirements),
    ...libcRequirements,
    ...guestRequirements,
    // What media are made with is installed when somebody wants one.
    ...containers.list().flatMap(({ kind, requirements }) => (kind === 'kernel' ? requirements : [])),
    ...vmms.list().flatMap(({ requirements }) => requirements),
    ...diskRequirements,
  ]);

async function probePackage({ package: name, why, file }: Requirement): Promise<ProbeResult> {
  const version = await exec('dpkg-query', ['-W', '-f', '${Version}', name]).catch(() => '');
  const ok = file === undefined ? version !== '' : existsSync(file);
  return {
    name,
    ok,
    required: true,
    found: ok ? version.trim() || 'present' : 'missing',
    why,
    ...(ok ? {} : { fix: `sudo apt-get install -y --no-install-recommends ${name}` }),
  };
}

async function probeDisk(): Promise<ProbeResult> {
  await mkdir(storeRoot(), { recursive: true });
  const disk = await statfs(storeRoot());
  const free = disk.bavail * disk.bsize;
  const ok = free >= SOURCE_BYTES;
  return {
    name: 'disk',
    ok,
    required: true,
    found: `${formatSize(free)} free in ${storeRoot()}`,
    why: `kernel source and build take about ${formatSize(SOURCE_BYTES)}`,
    ...(ok ? {} : { fix: 'free some space, or set UKL_STORE to a directory on a larger disk' }),
  };
}

async function probeMemory(): Promise<ProbeResult> {
  const available = await readFile('/proc/meminfo', 'utf8')
    .then((text) => Number(/MemAvailable:\s+(\d+)/.exec(text)?.[1]) * 1024)
    .catch(() => freemem());
  return {
    name: 'memory',
    ok: available >= BUILD_MEMORY,
    required: false,
    found: `${formatSize(available)} available of ${formatSize(totalmem())}`,
    why: `the kernel build uses up to ${formatSize(BUILD_MEMORY)}`,
  };
}

async function probeAccel(ready: boolean, context: Context): Promise<ProbeResult> {
  const base = { name: 'kvm', required: false, why: 'without it guests are emulated in software, some ten times slower' };
  const problem = await kvmDeviceProblem();
  if (problem !== undefined) return { ...base, ok: false, found: problem };
  if (!ready) return { ...base, ok: false, found: '/dev/kvm exists; it can be tried once the requirements are met' };
  const log = context.log ?? silentLog;
  const kernel = await getKernel(kernelSpec('ukl'), { log, signal: context.signal });
  const probe = await log.step('try KVM', () => probeKvm({ boot: 'linux', kernel: kernel.bzImage, id: hashValue(kernel.hashes) }, vmms.get('qemu')));
  return { ...base, ok: probe.usable, found: `/dev/kvm exists; ${probe.why}` };
}

/** Every requirement of the host, in the order of use. */
export async function doctor(context: Context = {}): Promise<readonly ProbeResult[]> {
  const major = Number(process.versions.node.split('.')[0]);
  const probes: ProbeResult[] = [
    { name: 'node', ok: major >= 20, required: true, found: process.versions.node, why: 'runs ukl itself (20 or newer)' },
    {
      name: 'machine',
      ok: process.arch === 'x64' && process.platform === 'linux',
      required: true,
      found: `${process.platform} ${process.arch}`,
      why: 'programs for x86-64 Linux are compiled and resolved here',
    },
    ...(await Promise.all(allRequirements().map(probePackage))),
    await probeDisk(),
    await probeMemory(),
  ];
  const ready = probes.every(({ ok, required }) => ok || !required);
  return [...probes, await probeAccel(ready, context)];
}
