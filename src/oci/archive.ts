// SPDX-License-Identifier: MIT
/** Images in one file: a layout in a tar archive, and what `docker save` writes. */
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';
import type { z } from 'zod';
import { UklError } from '../lib/errors.js';
import { abortable, type Bytes, bytesOf, collect, digestOf, hashing } from './digest.js';
import { documentOf, type LayoutFiles, layoutSink } from './layout.js';
import type { Sink, Source } from './source.js';
import { configSchema, type Descriptor, dockerArchiveSchema, MANIFEST_MAX, MEDIA, manifestSchema } from './spec.js';
import { eachEntry } from './tar.js';
import { firstBytes, uncompressed } from './uncompressed.js';

const GZIP = Buffer.from([0x1f, 0x8b]);

/** The files of an archive, found once and read where they are. Throws UKL_NO_TARGET, UKL_IMAGE. */
export async function archiveFiles(path: string, signal?: AbortSignal): Promise<LayoutFiles & { has(file: string): boolean }> {
  if (!existsSync(path)) throw new UklError('UKL_NO_TARGET', `${path} does not exist`, { hint: 'podman save, docker save, skopeo copy or ukl pull makes one' });
  if ((await collect(createReadStream(path, { end: 1 }), 2, path)).equals(GZIP)) {
    throw new UklError('UKL_IMAGE', `${path} is compressed as a whole`, { hint: `gunzip ${path}` });
  }
  const places = new Map<string, { readonly at: number; readonly size: number }>();
  const links = new Map<string, string>();
  await eachEntry(abortable(createReadStream(path, { highWaterMark: 1 << 20 }), signal), path, signal, async ({ header, at }) => {
    const name = posix.normalize(header.name).replace(/^\//, '');
    if (header.type === 'file') places.set(name, { at, size: header.size ?? 0 });
    // Older versions of docker save have a layer once, and links to it.
    if (header.type === 'symlink') links.set(name, posix.join(posix.dirname(name), header.linkname ?? ''));
    if (header.type === 'link') links.set(name, posix.normalize(header.linkname ?? ''));
  });
  const find = (file: string): { readonly at: number; readonly size: number } | undefined => places.get(file) ?? places.get(links.get(file) ?? '');
  return {
    name: path,
    has: (file) => find(file) !== undefined,
    open: async (file) => {
      const place = find(posix.normalize(file));
      if (place === undefined) throw new UklError('UKL_IMAGE', `${path} lacks ${file}`, { hint: 'save the image again' });
      return place.size === 0 ? bytesOf(Buffer.alloc(0)) : createReadStream(path, { start: place.at, end: place.at + place.size - 1 });
    },
  };
}

/**
 * An image that `docker save` or `podman save` wrote. It has no manifest: one is made, with the digests
 * of what is there, and the configuration says whether the layers are right.
 *
 * @throws UKL_NO_TARGET, UKL_IMAGE
 */
export async function dockerSource(path: string, tag: string | undefined, signal?: AbortSignal): Promise<Source> {
  const files = await archiveFiles(path, signal);
  const json = async <T>(file: string, schema: z.ZodType<T>): Promise<{ readonly value: T; readonly bytes: Buffer }> => {
    const bytes = await collect(await files.open(file), MANIFEST_MAX, `${file} of ${path}`);
    try {
      return { value: schema.parse(JSON.parse(bytes.toString())), bytes };
    } catch (cause) {
      throw new UklError('UKL_IMAGE', `${file} of ${path} is not what docker save writes`, { cause, hint: 'save the image again' });
    }
  };
  const { value: images } = await json('manifest.json', dockerArchiveSchema);
  const named =
    tag === undefined
      ? images
      : images.filter(({ RepoTags }) => RepoTags.some((name) => name === tag || name.endsWith(`:${tag}`) || name.startsWith(`${tag}:`)));
  const [image, another] = named;
  if (image === undefined || another !== undefined) {
    throw new UklError('UKL_NO_TARGET', image === undefined ? `${path} has no image ${tag}` : `${path} has ${named.length} images: which?`, {
      hint: `docker-archive:${path}:NAME, with one of ${images.flatMap(({ RepoTags }) => RepoTags).join(', ')}`,
    });
  }
  const { bytes } = await json(image.Config, configSchema);
  const config: Descriptor = { mediaType: MEDIA.config, digest: digestOf(bytes), size: bytes.length };
  const where = new Map([[config.digest, image.Config]]);
  const layers: Descriptor[] = [];
  for (const layer of image.Layers) {
    let found: Pick<Descriptor, 'digest' | 'size'> | undefined;
    const hashed = hashing(abortable(await files.open(layer), signal), (digest, size) => {
      found = { digest, size };
    });
    let head: Buffer | undefined;
    for await (const chunk of hashed) head ??= chunk;
    if (found === undefined) continue;
    where.set(found.digest, layer);
    layers.push({ mediaType: head?.subarray(0, 2).equals(GZIP) ? MEDIA.layerGzip : MEDIA.layer, ...found });
  }
  const document = documentOf({ schemaVersion: 2, mediaType: MEDIA.manifest, config, layers }, MEDIA.manifest);
  return {
    name: path,
    root: async () => document,
    document: async () => document,
    blob: ({ digest }) => files.open(where.get(digest) ?? digest),
  };
}

/** Writes files to an archive: the same files make the same bits. */
export async function writeTar(
  out: string,
  files: readonly { readonly name: string; readonly path?: string; readonly data?: Buffer | undefined }[],
): Promise<void> {
  const archive = pack();
  const fill = async (): Promise<void> => {
    for (const { name, path, data = Buffer.alloc(0) } of files) {
      const directory = name.endsWith('/');
      const size = path === undefined ? data.length : (await stat(path)).size;
      const entry = archive.entry({ name, size, mode: directory ? 0o755 : 0o644, mtime: new Date(0), type: directory ? 'directory' : 'file' });
      await pipeline(path === undefined ? bytesOf(data) : createReadStream(path), entry);
    }
    archive.finalize();
  };
  const filled = fill();
  filled.catch((error: unknown) => archive.destroy(error instanceof Error ? error : new Error(String(error))));
  await Promise.all([filled, pipeline(archive as unknown as Bytes, createWriteStream(out))]);
}

/** Writes an archive that docker load and podman load read. It has layers as they were before compression. */
export function dockerSink(path: string, tag: string | undefined, work: string): Sink {
  const partial = `${path}.partial-${process.pid}`;
  const blob = (digest: string): string => join(work, digest.replace(':', '-'));
  return {
    name: `docker-archive:${path}`,
    has: async ({ digest }) => existsSync(blob(digest)),
    put: ({ digest }, bytes) => pipeline(bytes, createWriteStream(blob(digest))),
    finish: async ({ bytes }) => {
      const { config, layers } = manifestSchema.parse(JSON.parse(bytes.toString()));
      const files: { readonly name: string; readonly path: string }[] = [];
      for (const { digest } of layers) {
        let diffId = '';
        const plain = join(work, `layer-${files.length}`);
        const whole = uncompressed(await firstBytes(blob(digest)), createReadStream(blob(digest)), path);
        await pipeline(
          hashing(whole, (is) => {
            diffId = is;
          }),
          createWriteStream(plain),
        );
        files.push({ name: `${diffId.replace('sha256:', '')}.tar`, path: plain });
      }
      const named = `${config.digest.replace('sha256:', '')}.json`;
      const notes = [{ Config: named, RepoTags: tag === undefined ? [] : [tag.includes(':') ? tag : `${tag}:latest`], Layers: files.map(({ name }) => name) }];
      const distinct = files.filter(({ name }, index) => files.findIndex((other) => other.name === name) === index);
      await writeTar(partial, [...distinct, { name: named, path: blob(config.digest) }, { name: 'manifest.json', data: Buffer.from(JSON.stringify(notes)) }]);
      await rename(partial, path);
    },
    abandon: () => rm(partial, { force: true }),
  };
}

/** Writes a layout into an archive, which appears when it is complete. What comes on the way is in `work`. */
export function archiveSink(path: string, tag: string | undefined, work: string): Sink {
  const directory = join(work, 'layout');
  const layout = layoutSink(directory, tag);
  const partial = `${path}.partial-${process.pid}`;
  return {
    ...layout,
    name: `oci-archive:${path}`,
    finish: async (document) => {
      await layout.finish(document);
      const blobs = (await readdir(join(directory, 'blobs/sha256'))).sort().map((name) => `blobs/sha256/${name}`);
      await writeTar(
        partial,
        ['oci-layout', 'index.json', ...blobs].map((name) => ({ name, path: join(directory, name) })),
      );
      await rename(partial, path);
    },
    abandon: async () => {
      await layout.abandon();
      await rm(partial, { force: true });
    },
  };
}
