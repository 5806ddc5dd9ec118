// SPDX-License-Identifier: MIT
import { constants } from 'node:fs';
import { access, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf, UklError } from '../../lib/errors.js';
import { hashValue } from '../../lib/hash.js';
import { storeRoot } from '../../lib/paths.js';
import { makeScratch } from '../../lib/scratch.js';
import type { Accel, Machine } from '../../model/index.js';
import type { AccelProbe, Bootable, Vmm } from '../vmm.js';

/** A kernel that really runs under KVM is through long before this. */
const PROBE_SECONDS = 5;

/** How long a kernel that hung is not tried again. */
const HUNG_MS = 3_600_000;

const probeResult = z.object({ usable: z.boolean(), why: z.string(), hung: z.boolean() });
type Attempt = z.infer<typeof probeResult>;

/** Why /dev/kvm cannot even be opened; undefined if it can. */
export async function kvmDeviceProblem(): Promise<string | undefined> {
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return errnoOf(error) === 'EACCES' ? '/dev/kvm: permission denied (add yourself to the group kvm)' : '/dev/kvm does not exist';
  }
}

/** Boots a kernel without its program, and waits until it misses its init. */
async function bootProbe({ boot, kernel }: Bootable, vmm: Vmm): Promise<Attempt> {
  const machine: Machine = {
    type: 'microvm',
    firmware: 'none',
    nicModel: 'virtio',
    payload: { boot, kernel, cmdline: 'console=ttyS0 reboot=t panic=-1 rdinit=/no-program' },
    memoryMiB: 512,
    cpus: 1,
    cpu: vmm.defaultCpu('kvm'),
    accel: 'kvm',
    nics: [],
    disks: [],
    attached: [],
    shares: [],
    devices: [],
    legacy: true,
    console: 'serial',
    transport: 'virtio-serial',
    icount: false,
  };
  await using scratch = await makeScratch('kvm');
  let timer: NodeJS.Timeout | undefined;
  try {
    const process = await vmm.start(machine, { directory: scratch.path });
    let text = '';
    void process.channels.serial?.then((socket) => socket.on('data', (chunk: Buffer) => (text += chunk.toString())));
    let hung = false;
    timer = setTimeout(() => {
      hung = true;
      process.kill();
    }, PROBE_SECONDS * 1000);
    const { stderr } = await process.exit;
    if (/Kernel panic - not syncing/.test(text)) return { usable: true, hung, why: 'its kernel booted' };
    return { usable: false, hung, why: hung ? `its kernel hung for ${PROBE_SECONDS} s` : `its kernel did not boot${stderr === '' ? '' : `: ${stderr}`}` };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Whether KVM runs a kernel. The device's presence says little: under some
 * hypervisors it opens, and the guest then hangs without a word. So a kernel
 * is booted. The answer is remembered until the host reboots, but for an hour
 * only if the kernel hung: a busy host looks the same.
 */
export async function probeKvm(kernel: Bootable, vmm: Vmm): Promise<AccelProbe> {
  const problem = await kvmDeviceProblem();
  if (problem !== undefined) return { usable: false, why: problem };
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  const memo = join(storeRoot(), 'hashes', `kvm-${hashValue([boot, kernel.id, kernel.boot]).slice(0, 16)}.json`);
  try {
    const { hung, ...known } = probeResult.parse(JSON.parse(await readFile(memo, 'utf8')));
    if (!hung || Date.now() - (await stat(memo)).mtimeMs < HUNG_MS) return known;
  } catch {
    // Not asked yet.
  }
  const probe = await bootProbe(kernel, vmm);
  await mkdir(join(storeRoot(), 'hashes'), { recursive: true });
  await writeFile(`${memo}.${process.pid}`, JSON.stringify(probe));
  await rename(`${memo}.${process.pid}`, memo);
  return { usable: probe.usable, why: probe.why };
}

/** What can be said without a kernel to try: who insists may try the image itself. */
export async function probeDevice(choice: Accel | 'auto'): Promise<AccelProbe> {
  const problem = await kvmDeviceProblem();
  return { usable: problem === undefined && choice === 'kvm', why: problem ?? 'there is no kernel here to try KVM with' };
}

/** The accelerator to use. `probe` is only called for auto and kvm. Throws UKL_ACCEL. */
export async function chooseAccel(choice: Accel | 'auto', probe: () => Promise<AccelProbe>): Promise<{ readonly accel: Accel; readonly why: string }> {
  if (choice === 'tcg') return { accel: 'tcg', why: 'asked for' };
  const { usable, why } = await probe();
  if (usable) return { accel: 'kvm', why };
  if (choice === 'kvm') throw new UklError('UKL_ACCEL', `KVM cannot be used: ${why}`, { hint: 'pass --accel tcg for software emulation' });
  return { accel: 'tcg', why };
}
