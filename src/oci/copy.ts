// SPDX-License-Identifier: MIT
import type { ContainerImage } from './container.js';
import { abortable, verified } from './digest.js';
import type { Sink } from './source.js';

/** Copies an image, its blobs verified on the way, and returns its digest. Nothing is left where it went if it does not get there. */
export async function copyImage(
  { source, document, manifest }: Pick<ContainerImage, 'source' | 'document' | 'manifest'>,
  sink: Sink,
  signal?: AbortSignal,
): Promise<string> {
  try {
    for (const descriptor of [...manifest.layers, manifest.config]) {
      if (await sink.has(descriptor)) continue;
      await sink.put(descriptor, verified(abortable(await source.blob(descriptor), signal), descriptor, source.name));
    }
    await sink.finish(document);
    return document.descriptor.digest;
  } catch (error) {
    await sink.abandon();
    throw error;
  }
}
