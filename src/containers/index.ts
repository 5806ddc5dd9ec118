// SPDX-License-Identifier: MIT
/** What an image can be. A new container is a file and a line here. */
import { UklError } from '../lib/errors.js';
import { Registry } from '../lib/registry.js';
import type { ContainerName } from '../model/index.js';
import { bzImage } from './bzimage.js';
import type { Container, ImageContainer } from './container.js';
import { disks } from './disk.js';
import { elf } from './elf.js';
import { iso } from './iso.js';
import { oci } from './oci.js';
import { uki } from './uki.js';
import { update } from './update.js';

export const containers = new Registry<ContainerName, Container>('container', [bzImage, elf, ...disks, iso, uki, update, oci]);

/** What a manifest names: the image itself, whatever it came in. Throws UKL_USAGE for a package. */
export function imageContainer(name: ContainerName): ImageContainer {
  const container = containers.get(name);
  if (container.kind !== 'package') return container;
  throw new UklError('UKL_USAGE', `${name} is what an image is carried in`, { hint: `--container ${container.carries}` });
}
