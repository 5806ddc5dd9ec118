// SPDX-License-Identifier: MIT
/** Firecracker's configuration file: its API's bodies, by their paths (src/firecracker/swagger/firecracker.yaml of its sources). */
import { UklError } from '../../lib/errors.js';
import type { Machine, Nic } from '../../model/index.js';

function tapOf(nic: Nic): { readonly device: string; readonly mac: string } {
  if (nic.kind === 'tap') return nic;
  throw new UklError('UKL_USAGE', `Firecracker cannot connect the guest to a ${nic.kind} network`, { hint: '--net tap:NAME, or --net none' });
}

/** What `firecracker --no-api --config-file` takes. */
export function firecrackerConfig(machine: Machine): object {
  const { payload } = machine;
  if (payload.boot !== 'pvh' && payload.boot !== 'linux') throw new UklError('UKL_USAGE', 'Firecracker starts kernels, not media', { hint: '--container elf' });
  return {
    'boot-source': {
      kernel_image_path: payload.kernel,
      ...(payload.initramfs === undefined ? {} : { initrd_path: payload.initramfs }),
      // It has no PCI, and a keyboard controller that only resets.
      boot_args: `${payload.cmdline} pci=off i8042.noaux i8042.nomux i8042.dumbkbd`.trim(),
    },
    drives: [...machine.disks, ...machine.attached].map(({ file }, index) => ({
      drive_id: `disk${index}`,
      path_on_host: file,
      is_root_device: false,
      is_read_only: false,
    })),
    'machine-config': { vcpu_count: machine.cpus, mem_size_mib: machine.memoryMiB },
    'network-interfaces': machine.nics.map((nic, index) => {
      const { device, mac } = tapOf(nic);
      return { iface_id: `eth${index}`, host_dev_name: device, guest_mac: mac };
    }),
    ...(machine.devices.includes('rng') ? { entropy: {} } : {}),
  };
}
