// SPDX-License-Identifier: MIT
import { constants } from 'node:fs';
import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { errnoOf, UklError } from '../../lib/errors.js';
import { hashValue } from '../../lib/hash.js';
import { storeRoot } from '../../lib/paths.js';
import type { Kernel } from '../../model/index.js';
import type { Accel } from './args.js';
import { defaultCpu } from './cpu.js';
import { Vm } from './vm.js';

export type AccelChoice = Accel | 'auto';

/** A kernel that really runs under KVM is through long before this. */
const PROBE_SECONDS = 5;

export interface AccelProbe {
  readonly usable: boolean;
  readonly why: string;
}

/** Why /dev/kvm cannot even be opened; undefined if it can. */
export async function kvmDeviceProblem(): Promise<string | undefined> {
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return errnoOf(error) === 'EACCES' ? '/dev/kvm: permission denied (add yourself to the group kvm)' : '/dev/kvm does not exist';
  }
}

/**
 * Whether KVM runs a kernel. The device's presence says little: under some
 * hypervisors it opens, and the guest then hangs without a word. So a kernel
 * without a program is booted; it counts if it gets as far as missing its init.
 * The answer is remembered until the host reboots.
 */
export async function probeKvm(kernel: Kernel): Promise<AccelProbe> {
  const problem = await kvmDeviceProblem();
  if (problem !== undefined) return { usable: false, why: problem };
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  const memo = join(storeRoot(), 'hashes', `kvm-${hashValue([boot, kernel.hashes]).slice(0, 16)}.json`);
  try {
    return JSON.parse(await readFile(memo, 'utf8')) as AccelProbe;
  } catch {
    // Not asked yet.
  }
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const vm = Vm.start({
    accel: 'kvm',
    kernel: kernel.bzImage,
    cmdline: 'console=ttyS0 reboot=t panic=-1',
    memoryMiB: 128,
    cpus: 1,
    cpu: defaultCpu('kvm'),
    ports: [],
    disks: [],
    volumes: [],
    spec: Buffer.alloc(0),
    stdin: undefined,
    stdout: nowhere,
    stderr: nowhere,
    logFile: join(storeRoot(), 'logs', 'kvm-probe.log'),
    timeoutSeconds: PROBE_SECONDS,
  });
  const { end } = await vm.result;
  const probe: AccelProbe =
    end.kind === 'panic'
      ? { usable: true, why: 'a probe kernel booted' }
      : {
          usable: false,
          why:
            end.kind === 'timeout'
              ? `a probe kernel hung for ${PROBE_SECONDS} s`
              : `a probe kernel did not boot (${end.kind}${'message' in end ? `: ${end.message}` : ''})`,
        };
  await mkdir(join(storeRoot(), 'hashes'), { recursive: true });
  await writeFile(`${memo}.${process.pid}`, JSON.stringify(probe));
  await rename(`${memo}.${process.pid}`, memo);
  return probe;
}

/** The accelerator to use. `probe` is only called for auto and kvm. Throws UKL_ACCEL. */
export async function chooseAccel(choice: AccelChoice, probe: () => Promise<AccelProbe>): Promise<{ readonly accel: Accel; readonly why: string }> {
  if (choice === 'tcg') return { accel: 'tcg', why: 'asked for' };
  const { usable, why } = await probe();
  if (usable) return { accel: 'kvm', why };
  if (choice === 'kvm') throw new UklError('UKL_ACCEL', `KVM cannot be used: ${why}`, { hint: 'pass --accel tcg for software emulation', exitCode: 125 });
  return { accel: 'tcg', why };
}
