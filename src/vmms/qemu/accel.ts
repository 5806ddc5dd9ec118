// SPDX-License-Identifier: MIT
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf, UklError } from '../../lib/errors.js';
import { hashValue } from '../../lib/hash.js';
import { storeRoot } from '../../lib/paths.js';
import type { Accel, Kernel, Machine } from '../../model/index.js';
import type { AccelProbe, Vmm } from '../vmm.js';

/** A kernel that really runs under KVM is through long before this. */
const PROBE_SECONDS = 5;

const probeResult = z.object({ usable: z.boolean(), why: z.string() });

/** Why /dev/kvm cannot even be opened; undefined if it can. */
export async function kvmDeviceProblem(): Promise<string | undefined> {
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return errnoOf(error) === 'EACCES' ? '/dev/kvm: permission denied (add yourself to the group kvm)' : '/dev/kvm does not exist';
  }
}

/** Boots a kernel without a program, and waits until it misses its init. */
async function bootProbe(kernel: Kernel, vmm: Vmm): Promise<AccelProbe> {
  const machine: Machine = {
    payload: { boot: 'linux', kernel: kernel.bzImage, cmdline: 'console=ttyS0 reboot=t panic=-1' },
    memoryMiB: 128,
    cpus: 1,
    cpu: vmm.defaultCpu('kvm'),
    accel: 'kvm',
    nics: [],
    disks: [],
    shares: [],
    devices: [],
    console: 'serial',
    transport: 'virtio-serial',
    icount: false,
  };
  const directory = await mkdtemp(join(tmpdir(), 'ukl-kvm-'));
  let timer: NodeJS.Timeout | undefined;
  try {
    const process = await vmm.start(machine, { directory });
    let text = '';
    void process.channels.serial.then((socket) => socket.on('data', (chunk: Buffer) => (text += chunk.toString())));
    let hung = false;
    timer = setTimeout(() => {
      hung = true;
      process.kill();
    }, PROBE_SECONDS * 1000);
    const { stderr } = await process.exit;
    if (/Kernel panic - not syncing/.test(text)) return { usable: true, why: 'a probe kernel booted' };
    return { usable: false, why: hung ? `a probe kernel hung for ${PROBE_SECONDS} s` : `a probe kernel did not boot${stderr === '' ? '' : `: ${stderr}`}` };
  } finally {
    clearTimeout(timer);
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * Whether KVM runs a kernel. The device's presence says little: under some
 * hypervisors it opens, and the guest then hangs without a word. So a kernel
 * is booted. The answer is remembered until the host reboots.
 */
export async function probeKvm(kernel: Kernel, vmm: Vmm): Promise<AccelProbe> {
  const problem = await kvmDeviceProblem();
  if (problem !== undefined) return { usable: false, why: problem };
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  const memo = join(storeRoot(), 'hashes', `kvm-${hashValue([boot, kernel.hashes]).slice(0, 16)}.json`);
  try {
    return probeResult.parse(JSON.parse(await readFile(memo, 'utf8')));
  } catch {
    // Not asked yet.
  }
  const probe = await bootProbe(kernel, vmm);
  await mkdir(join(storeRoot(), 'hashes'), { recursive: true });
  await writeFile(`${memo}.${process.pid}`, JSON.stringify(probe));
  await rename(`${memo}.${process.pid}`, memo);
  return probe;
}

/** The accelerator to use. `probe` is only called for auto and kvm. Throws UKL_ACCEL. */
export async function chooseAccel(choice: Accel | 'auto', probe: () => Promise<AccelProbe>): Promise<{ readonly accel: Accel; readonly why: string }> {
  if (choice === 'tcg') return { accel: 'tcg', why: 'asked for' };
  const { usable, why } = await probe();
  if (usable) return { accel: 'kvm', why };
  if (choice === 'kvm') throw new UklError('UKL_ACCEL', `KVM cannot be used: ${why}`, { hint: 'pass --accel tcg for software emulation' });
  return { accel: 'tcg', why };
}
