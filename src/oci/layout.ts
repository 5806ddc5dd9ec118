// SPDX-License-Identifier: MIT
/** Image layouts, directories of blobs by digest: image-layout.md. */
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { UklError } from '../lib/errors.js';
import { type Bytes, checkDigest, collect, digestOf } from './digest.js';
import type { Document, Sink, Source } from './source.js';
import { type Descriptor, type Index, indexSchema, MANIFEST_MAX, MEDIA, REF_NAME } from './spec.js';

const MARKER = 'oci-layout';
const MARK = '{"imageLayoutVersion":"1.0.0"}';
const INDEX = 'index.json';

/** Where a layout has a blob. */
export const blobPath = (digest: string): string => `blobs/${digest.replace(':', '/')}`;

/** Whether a directory is a layout. */
export const isLayout = (directory: string): boolean => existsSync(join(directory, MARKER)) && existsSync(join(directory, INDEX));

/** Reads a layout's parts, by their paths in it: from a directory, or from an archive of one. */
export interface LayoutFiles {
  readonly name: string;
  /** Throws UKL_IMAGE, UKL_NO_TARGET if it has no such file. */
  open(path: string): Promise<Bytes>;
}

/** What a tag of an index names; the one image it has, without a tag. */
function pick(index: Index, tag: string | undefined, name: string): Descriptor {
  const tags = index.manifests.flatMap(({ annotations = {} }) => annotations[REF_NAME] ?? []);
  // Tools write names with the repository, or tags alone.
  const named = index.manifests.filter(
    ({ annotations = {} }) => tag !== undefined && (annotations[REF_NAME] === tag || annotations[REF_NAME]?.endsWith(`:${tag}`)),
  );
  const found = tag === undefined ? (index.manifests.length === 1 ? index.manifests[0] : undefined) : named[0];
  if (found !== undefined) return found;
  throw new UklError('UKL_NO_TARGET', tag === undefined ? `${name} has ${index.manifests.length} images: which?` : `${name} has no image ${tag}`, {
    hint: tags.length === 0 ? 'it has no names for images' : `${name}:TAG, with one of ${tags.join(', ')}`,
  });
}

/** An image of a layout. */
export function layoutSource(files: LayoutFiles, tag: string | undefined): Source {
  const { name } = files;
  const document = async (descriptor: Descriptor): Promise<Document> => {
    const bytes = await collect(await files.open(blobPath(descriptor.digest)), MANIFEST_MAX, `a manifest of ${name}`);
    checkDigest(bytes, descriptor.digest, name);
    return { descriptor, bytes };
  };
  return {
    name,
    root: async () => {
      const bytes = await collect(await files.open(INDEX), MANIFEST_MAX, `the index of ${name}`);
      let index: unknown;
      try {
        index = JSON.parse(bytes.toString());
      } catch (cause) {
        throw new UklError('UKL_IMAGE', `the ${INDEX} of ${name} is no JSON`, { cause, hint: 'copy the image again' });
      }
      const { success, data } = indexSchema.safeParse(index);
      if (!success) throw new UklError('UKL_IMAGE', `the ${INDEX} of ${name} is none`, { hint: 'copy the image again' });
      return document(pick(data, tag, name));
    },
    document,
    blob: (descriptor) => files.open(blobPath(descriptor.digest)),
  };
}

/** The files of a layout that is a directory. Throws UKL_NO_TARGET if it is none. */
export function directoryFiles(directory: string): LayoutFiles {
  if (!isLayout(directory)) {
    throw new UklError('UKL_NO_TARGET', `${directory} is no OCI image layout`, {
      hint: `a directory with ${MARKER} and ${INDEX}: skopeo copy ... oci:${directory}`,
    });
  }
  return {
    name: directory,
    open: async (path) => {
      const file = join(directory, path);
      if (!existsSync(file)) throw new UklError('UKL_IMAGE', `${directory} lacks ${path}`, { hint: 'copy the image again' });
      return createReadStream(file);
    },
  };
}

async function readIndex(directory: string): Promise<Index> {
  const text = await readFile(join(directory, INDEX), 'utf8').catch(() => undefined);
  return text === undefined ? { schemaVersion: 2, mediaType: MEDIA.index, manifests: [] } : indexSchema.parse(JSON.parse(text));
}

/**
 * Adds an image to a layout, which is made if it is not there. Blobs come by
 * renaming, and the index last: an interruption leaves the layout as it was.
 */
export function layoutSink(directory: string, tag: string | undefined): Sink {
  const made: string[] = [];
  const place = async (path: string, write: (partial: string) => Promise<void>): Promise<void> => {
    const file = join(directory, path);
    const partial = `${file}.partial-${process.pid}`;
    await mkdir(dirname(file), { recursive: true });
    try {
      await write(partial);
      if (!existsSync(file)) made.push(file);
      await rename(partial, file);
    } finally {
      await rm(partial, { force: true });
    }
  };
  const isNew = !existsSync(directory);
  return {
    name: `oci:${directory}`,
    has: async ({ digest }) => existsSync(join(directory, blobPath(digest))),
    put: ({ digest }, bytes) => place(blobPath(digest), (partial) => pipeline(bytes, createWriteStream(partial))),
    finish: async ({ descriptor: { mediaType, digest, size }, bytes }) => {
      await place(blobPath(digest), (partial) => writeFile(partial, bytes));
      await place(MARKER, (partial) => writeFile(partial, MARK));
      const index = await readIndex(directory);
      const others = index.manifests.filter(({ digest: other, annotations = {} }) => (tag === undefined ? other !== digest : annotations[REF_NAME] !== tag));
      const entry = { mediaType, digest, size, ...(tag === undefined ? {} : { annotations: { [REF_NAME]: tag } }) };
      const text = JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.index, manifests: [...others, entry] });
      await place(INDEX, (partial) => writeFile(partial, text));
    },
    abandon: async () => {
      for (const file of isNew ? [directory] : made) await rm(file, { recursive: true, force: true });
    },
  };
}

/** A manifest with its descriptor. */
export function documentOf(value: object, mediaType: string): Document {
  const bytes = Buffer.from(JSON.stringify(value));
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes };
}
