// SPDX-License-Identifier: MIT
/** A unikernel in a container image: one layer with the file that boots, and notes for who starts it. */
import type { StoreContext } from '../store/store.js';
import { type ContainerImage, getLayers, rootOf } from './container.js';

/** The label and annotation that says where in its layer ukl's image is. */
export const UNIKERNEL = 'ukl.image';

/** Where a container image has a unikernel of ours; undefined if it has none. */
export const unikernelPath = ({ config, manifest }: ContainerImage): string | undefined => config.config.Labels[UNIKERNEL] ?? manifest.annotations?.[UNIKERNEL];

/** The file that boots, in the store; undefined if the image has none. Throws UKL_IMAGE. */
export async function getUnikernel(image: ContainerImage, context: StoreContext): Promise<string | undefined> {
  const path = unikernelPath(image);
  const node = path === undefined ? undefined : rootOf(await getLayers(image, context)).find(path)?.node;
  return node?.kind === 'file' ? node.host : undefined;
}
