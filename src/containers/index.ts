// SPDX-License-Identifier: MIT
/** What an image can be. A new container is a file and a line here. */
import { Registry } from '../lib/registry.js';
import type { ContainerName } from '../model/index.js';
import { bzImage } from './bzimage.js';
import type { Container } from './container.js';
import { disks } from './disk.js';
import { elf } from './elf.js';
import { iso } from './iso.js';
import { uki } from './uki.js';

export const containers = new Registry<ContainerName, Container>('container', [bzImage, elf, ...disks, iso, uki]);
