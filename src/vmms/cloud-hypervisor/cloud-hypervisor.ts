// SPDX-License-Identifier: MIT
/** Cloud Hypervisor by its command line (docs/ of its sources; the same as its API's VmConfig). */
import { UklError } from '../../lib/errors.js';
import type { Machine, Nic } from '../../model/index.js';
import { onConsole } from '../console.js';
import { startOnConsole } from '../process.js';
import type { Vmm } from '../vmm.js';

const HINT = 'github.com/cloud-hypervisor/cloud-hypervisor has releases';

function net(nic: Nic): string {
  if (nic.kind === 'tap') return `tap=${nic.device},mac=${nic.mac}`;
  throw new UklError('UKL_USAGE', `Cloud Hypervisor cannot connect the guest to a ${nic.kind} network`, { hint: '--net tap:NAME, or --net none' });
}

const all = (flag: string, values: readonly string[]): readonly string[] => (values.length === 0 ? [] : [flag, ...values]);

/** Its words. A comma in a path separates its own options, and has no escape. */
export function cloudHypervisorWords(machine: Machine): readonly string[] {
  const { payload } = machine;
  if (payload.boot !== 'pvh') throw new UklError('UKL_USAGE', 'Cloud Hypervisor starts ELF kernels by their PVH entry', { hint: '--container elf' });
  const disks = [...machine.disks, ...machine.attached].map(({ file }) => file);
  const odd = disks.find((file) => file.includes(','));
  if (odd !== undefined) throw new UklError('UKL_USAGE', `Cloud Hypervisor takes no comma in a path: ${odd}`, { hint: 'another name' });
  return [
    'cloud-hypervisor',
    ...['--kernel', payload.kernel, '--cmdline', payload.cmdline],
    ...(payload.initramfs === undefined ? [] : ['--initramfs', payload.initramfs]),
    ...['--cpus', `boot=${machine.cpus}`, '--memory', `size=${machine.memoryMiB}M`],
    ...['--serial', 'tty', '--console', 'off'],
    ...(machine.devices.includes('rng') ? ['--rng', 'src=/dev/urandom'] : []),
    ...all(
      '--disk',
      disks.map((file) => `path=${file}`),
    ),
    ...all('--net', machine.nics.map(net)),
  ];
}

export const cloudHypervisor: Vmm = {
  ...onConsole('cloud-hypervisor', 'Cloud Hypervisor'),
  command: cloudHypervisorWords,
  start: async (machine) => startOnConsole('Cloud Hypervisor', cloudHypervisorWords(machine), HINT),
};
