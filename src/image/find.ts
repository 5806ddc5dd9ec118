// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { readContainer } from '../oci/container.js';
import { openSource } from '../oci/open.js';
import { findReference } from '../oci/reference.js';
import { getUnikernel } from '../oci/unikernel.js';
import type { StoreContext } from '../store/store.js';
import { isImage } from './image.js';

/**
 * The image that a word names, a file or, of a container image that carries one, its
 * file in the store; undefined for anything else.
 *
 * @throws UKL_NO_TARGET, UKL_IMAGE for a reference that leads nowhere
 */
export async function findImage(word: string, context: StoreContext): Promise<string | undefined> {
  if (await isImage(word)) return word;
  const reference = existsSync(word) ? undefined : findReference(word);
  return reference && getUnikernel(await readContainer(await openSource(reference, context.signal)), context);
}
