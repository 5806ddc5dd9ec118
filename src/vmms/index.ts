// SPDX-License-Identifier: MIT
/** The VMMs that can run an image. A new one is a folder and a line here. */
import { Registry } from '../lib/registry.js';
import { cloudHypervisor } from './cloud-hypervisor/cloud-hypervisor.js';
import { firecracker } from './firecracker/firecracker.js';
import { qemu } from './qemu/qemu.js';
import type { Vmm, VmmName } from './vmm.js';

export const vmms = new Registry<VmmName, Vmm>('VMM', [qemu, firecracker, cloudHypervisor]);
