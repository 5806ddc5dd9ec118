// SPDX-License-Identifier: MIT
/** An image of this machine's kind, wherever it is: manifest, configuration, root file system. */
import { join } from 'node:path';
import { z } from 'zod';
import { UklError } from '../lib/errors.js';
import type { StoreContext } from '../store/store.js';
import { collect, verified } from './digest.js';
import { getLayer, type Layer } from './layer.js';
import type { Document, Source } from './source.js';
import { configSchema, type Descriptor, type ImageConfig, indexSchema, MANIFEST_MAX, type Manifest, MEDIA, manifestSchema } from './spec.js';
import { Tree } from './tree.js';

export interface ContainerImage {
  readonly source: Source;
  readonly document: Document;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
}

const platformOf = ({ platform }: Descriptor): string => (platform === undefined ? 'unknown' : `${platform.os}/${platform.architecture}`);

function parse<T>(schema: z.ZodType<T>, bytes: Buffer, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch (cause) {
    throw new UklError('UKL_IMAGE', `${what} is no JSON`, { cause, hint: 'have the image pushed again' });
  }
  const { success, data, error } = schema.safeParse(value);
  if (!success)
    throw new UklError('UKL_IMAGE', `${what} is not of a form that ukl knows`, { details: z.prettifyError(error), hint: 'have the image pushed again' });
  return data;
}

const isIndex = ({ mediaType }: Descriptor): boolean => mediaType === MEDIA.index || mediaType === MEDIA.dockerIndex;

/** The manifest for linux/amd64, through indexes. */
async function choose(source: Source, document: Document, depth = 0): Promise<Document> {
  if (!isIndex(document.descriptor)) return document;
  const { manifests } = parse(indexSchema, document.bytes, `the index of ${source.name}`);
  const ours = manifests.find(({ platform }) => platform?.os === 'linux' && platform.architecture === 'amd64');
  // An index of one image need not say for which machine that is: its configuration does.
  const chosen = ours ?? (manifests.length === 1 && manifests[0]?.platform === undefined ? manifests[0] : undefined);
  if (chosen === undefined || depth > 2) {
    throw new UklError('UKL_WRONG_ARCH', `${source.name} has no image for linux/amd64, only ${manifests.map(platformOf).join(', ') || 'none at all'}`, {
      hint: 'docker buildx build --platform linux/amd64',
    });
  }
  return choose(source, await source.document(chosen), depth + 1);
}

/**
 * Reads an image's manifest and configuration.
 *
 * @throws UKL_WRONG_ARCH for another machine's; UKL_IMAGE
 */
export async function readContainer(source: Source): Promise<ContainerImage> {
  const document = await choose(source, await source.root());
  const manifest = parse(manifestSchema, document.bytes, `the manifest of ${source.name}`);
  const bytes = await collect(verified(await source.blob(manifest.config), manifest.config, source.name), MANIFEST_MAX, `the configuration of ${source.name}`);
  const config = parse(configSchema, bytes, `the configuration of ${source.name}`);
  if (config.os !== 'linux' || config.architecture !== 'amd64') {
    throw new UklError('UKL_WRONG_ARCH', `${source.name} is an image for ${config.os}/${config.architecture}; ukl runs linux/amd64`, {
      hint: 'docker buildx build --platform linux/amd64',
    });
  }
  return { source, document, manifest, config };
}

/** An image's layers in the store, lowest first. Throws UKL_IMAGE if one is not what the configuration says. */
export async function getLayers({ source, manifest, config }: ContainerImage, context: StoreContext): Promise<Layer[]> {
  const layers: Layer[] = [];
  for (const descriptor of manifest.layers) layers.push(await getLayer(source, descriptor, context));
  const wrong = layers.findIndex(({ diffId }, index) => diffId !== config.rootfs.diff_ids[index]);
  if (wrong >= 0 || layers.length !== config.rootfs.diff_ids.length) {
    throw new UklError('UKL_IMAGE', `the layers of ${source.name} are not those of its configuration`, { hint: 'have the image pushed again' });
  }
  return layers;
}

/** The root file system that layers make. Throws UKL_IMAGE. */
export function rootOf(layers: readonly Layer[]): Tree {
  const tree = new Tree();
  for (const layer of layers) tree.apply(layer, (content) => join(layer.contents, String(content)));
  return tree;
}
