// SPDX-License-Identifier: MIT
/** Where an image can be deployed. A new platform is an object and a word here. */
import { Registry } from '../lib/registry.js';
import { aws, azure, gcp } from './clouds.js';
import { libvirt, proxmox, pxe } from './hosts.js';
import { kubernetes } from './kubernetes/kubernetes.js';
import { kubevirt } from './kubernetes/kubevirt.js';
import { nomad } from './nomad.js';
import type { Platform, PlatformName } from './platform.js';

export const platforms = new Registry<PlatformName, Platform>('platform', [aws, gcp, azure, proxmox, libvirt, pxe, kubernetes, kubevirt, nomad]);
