// SPDX-License-Identifier: MIT
/** What VMMs have in common that run on KVM alone and speak with the guest by a serial console. */
import { UklError } from '../lib/errors.js';
import type { Vmm, VmmName } from './vmm.js';

export const onConsole = (name: VmmName, title: string): Omit<Vmm, 'command' | 'start'> => ({
  name,
  title,
  // Not among Debian's packages: who has it has it in PATH.
  requirements: [],
  supports: {
    boot: ['pvh'],
    machines: { microvm: ['none'] },
    transports: ['console'],
    nics: ['tap'],
    disks: false,
    attached: true,
    shares: false,
    gdb: false,
    icount: false,
    plugins: false,
    snapshots: false,
  },
  userNetwork: () => ({ dhcp: true, addresses: [], gateways: [], dns: [] }),
  chooseAccel: async (choice) => {
    if (choice === 'tcg') throw new UklError('UKL_ACCEL', `${title} has no emulation`, { hint: '--vmm qemu --accel tcg' });
    return { accel: 'kvm', why: `${title} has nothing else` };
  },
  identity: async () => ({}),
  defaultCpu: () => 'host',
  checkCpu: async (cpu) => {
    throw new UklError('UKL_USAGE', `${title} is not told of a processor: ${cpu}`, { hint: '--vmm qemu' });
  },
});
