// SPDX-License-Identifier: MIT
/** Refuses what a VMM cannot do, by name, before any work is done. */
import type { ImageContainer } from '../containers/container.js';
import { UklError } from '../lib/errors.js';
import type { Firmware, MachineType, Nic, Transport } from '../model/index.js';
import type { RunOptions } from '../options/given.js';
import type { Vmm } from '../vmms/vmm.js';

/** What a run asks of its VMM. */
export interface Needs {
  readonly container: Pick<ImageContainer, 'name' | 'boot'>;
  readonly options: Pick<RunOptions, 'gdb' | 'icount' | 'plugin' | 'accel' | 'attach' | 'args' | 'env'>;
  readonly transport: Transport;
  readonly machine: MachineType;
  readonly firmware: Firmware;
  /** Whether the image's kernel was built for one program. */
  readonly small: boolean;
  readonly disks: number;
  readonly volumes: number;
  readonly ports: number;
  /** What the network interfaces are connected to. */
  readonly nets: readonly Nic['kind'][];
}

/** Throws UKL_USAGE with the first thing that cannot be had. */
export function checkSupport({ title, supports }: Vmm, { container, options, transport, machine, firmware, small, disks, volumes, ports, nets }: Needs): void {
  // A VMM without a network of its own gives the guest none.
  const refusedNet = nets.find((net) => net !== 'user' && !supports.nics.includes(net));
  const refused: readonly (readonly [boolean, string])[] = [
    [!supports.boot.includes(container.boot), `start a ${container.name} image`],
    [supports.machines[machine] === undefined, `be a ${machine}`],
    [supports.machines[machine]?.includes(firmware) === false, `start a ${machine} with ${firmware === 'none' ? 'no firmware' : firmware}`],
    [container.boot === 'efi' && firmware !== 'uefi' && firmware !== 'secure-boot', `start an EFI program by ${firmware}`],
    [
      (container.boot === 'linux' || container.boot === 'pvh') && (firmware === 'uefi' || firmware === 'secure-boot'),
      `start a ${container.name} image by UEFI`,
    ],
    [
      small &&
        machine !== 'microvm' &&
        (transport === 'virtio-serial' || disks > 0 || volumes > 0 || (options.attach ?? []).length > 0 || ports > 0 || nets.some((net) => net !== 'user')),
      `give a small kernel devices on a ${machine}, which has PCI`,
    ],
    [!supports.transports.includes(transport), `talk to the guest by ${transport}`],
    [options.gdb === true && !supports.gdb, 'wait for gdb'],
    [options.icount === true && !supports.icount, 'count instructions'],
    [options.plugin !== undefined && !supports.plugins, 'load a plugin'],
    [disks > 0 && !supports.disks, 'tell the guest of a disk'],
    [(options.attach ?? []).length > 0 && !supports.attached, 'attach a disk'],
    [transport === 'console' && ((options.args ?? []).length > 0 || Object.keys(options.env ?? {}).length > 0), 'tell the guest arguments or variables'],
    [volumes > 0 && !supports.shares, 'share a directory'],
    [ports > 0 && !supports.nics.includes('user'), 'forward a port'],
    [refusedNet !== undefined, `connect the guest to a ${refusedNet} network`],
  ];
  const first = refused.find(([is]) => is)?.[1];
  if (first !== undefined) throw new UklError('UKL_USAGE', `${title} cannot ${first}`);
  if (options.icount && options.accel === 'kvm')
    throw new UklError('UKL_USAGE', 'instructions can only be counted in emulation', { hint: '--icount --accel tcg' });
}
