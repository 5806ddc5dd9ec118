// SPDX-License-Identifier: MIT
/**
 * Layers in the store: one entry each, by its digest. The content of its files is
 * numbered, and names, owners and modes are in an index: no name of an archive is
 * ever one of this host.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { UklError } from '../lib/errors.js';
import { fromStore, type StoreContext } from '../store/store.js';
import { abortable, type Bytes, hashing, verified } from './digest.js';
import type { Source } from './source.js';
import type { Descriptor } from './spec.js';
import { eachEntry, type TarEntry } from './tar.js';
import { firstBytes, uncompressed } from './uncompressed.js';

const owned = { path: z.string(), mode: z.int(), uid: z.int(), gid: z.int() };

const layerEntry = z.discriminatedUnion('type', [
  /** `content` is the number of the file that has it. */
  z.object({ type: z.literal('file'), ...owned, size: z.int(), content: z.int() }),
  z.object({ type: z.literal('directory'), ...owned }),
  z.object({ type: z.literal('symlink'), ...owned, target: z.string() }),
  z.object({ type: z.literal('hardlink'), path: z.string(), target: z.string() }),
  /** A character device. */
  z.object({ type: z.literal('device'), ...owned, major: z.int(), minor: z.int() }),
  /** What a lower layer has at the path is gone. */
  z.object({ type: z.literal('whiteout'), path: z.string() }),
  /** What lower layers have in the directory is gone. */
  z.object({ type: z.literal('opaque'), path: z.string() }),
]);

const layerSchema = z.object({
  /** The digest of the archive before compression. */
  diffId: z.string(),
  entries: z.array(layerEntry),
  /** What of the archive no initramfs holds. */
  dropped: z.array(z.string()),
});

export type LayerEntry = z.output<typeof layerEntry>;
export type Layer = z.output<typeof layerSchema> & {
  /** Holds the contents by their numbers. */
  readonly contents: string;
};

/** Changes with what is kept of an archive. */
const VERSION = 1;

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** Notes of aufs' own (layer.md). */
const AUFS = '.wh..wh.';

/** Absolute, and without dots: what leads out of the root leads to it. */
export const insideRoot = (path: string): string => posix.normalize(`/${path}`).replace(/(.)\/$/, '$1');

/** What an archive's entry is in a layer; a string says what was left out. */
function entryOf({ header }: TarEntry, content: number): LayerEntry | string | undefined {
  const path = insideRoot(header.name);
  const name = posix.basename(path);
  const parent = posix.dirname(path);
  if (name === OPAQUE) return { type: 'opaque', path: parent };
  if (name.startsWith(AUFS)) return undefined;
  if (name.startsWith(WHITEOUT)) return { type: 'whiteout', path: posix.join(parent, name.slice(WHITEOUT.length)) };
  const owner = { path, mode: (header.mode ?? 0) & 0o7777, uid: header.uid ?? 0, gid: header.gid ?? 0 };
  switch (header.type ?? 'file') {
    case 'file':
    case 'contiguous-file':
      return { type: 'file', ...owner, size: header.size ?? 0, content };
    case 'directory':
      return { type: 'directory', ...owner };
    case 'symlink':
      return { type: 'symlink', ...owner, target: header.linkname ?? '' };
    case 'link':
      return { type: 'hardlink', path, target: insideRoot(header.linkname ?? '') };
    case 'character-device':
      return { type: 'device', ...owner, major: header.devmajor ?? 0, minor: header.devminor ?? 0 };
    default:
      return `${path} (${header.type})`;
  }
}

/** The one extended attribute that changes what a program may do; cpio has room for none. */
const FILE_CAPABILITIES = 'SCHILY.xattr.security.capability';

async function unpack(archive: Bytes, name: string, output: string, signal: AbortSignal | undefined): Promise<void> {
  const contents = join(output, 'files');
  await mkdir(contents, { recursive: true });
  const entries: LayerEntry[] = [];
  const dropped: string[] = [];
  let diffId = '';
  const plain = hashing(archive, (digest) => {
    diffId = digest;
  });
  await eachEntry(plain, name, signal, async (tarEntry) => {
    const { header, content } = tarEntry;
    if (FILE_CAPABILITIES in (header.pax ?? {})) dropped.push(`the capabilities of ${insideRoot(header.name)}`);
    const entry = entryOf(tarEntry, entries.length);
    if (typeof entry === 'string') dropped.push(entry);
    else if (entry !== undefined) {
      entries.push(entry);
      if (entry.type === 'file' && entry.size > 0) await pipeline(content, createWriteStream(join(contents, String(entry.content))));
    }
  });
  const layer: z.input<typeof layerSchema> = { diffId, entries, dropped };
  await writeFile(join(output, 'layer.json'), JSON.stringify(layer));
}

/**
 * A layer's files, fetched and unpacked now if the store does not have them. Nothing of a
 * layer is read before all of it is known to be what its digest says.
 *
 * @throws UKL_IMAGE for other bytes, a damaged archive, or a layer that may not be distributed
 */
export async function getLayer(source: Source, descriptor: Descriptor, context: StoreContext): Promise<Layer> {
  const { digest, mediaType } = descriptor;
  if (/foreign|nondistributable/.test(mediaType)) {
    throw new UklError('UKL_IMAGE', `${source.name} has a layer that registries do not give out (${mediaType})`, { hint: 'build the image on another base' });
  }
  const entry = await fromStore(
    {
      kind: 'layer',
      title: `unpack layer ${digest.slice(0, 19)} of ${source.name}`,
      key: { digest, version: VERSION },
      make: async ({ output, work }) => {
        const blob = join(work, 'blob');
        const bytes = abortable(await source.blob(descriptor), context.signal);
        await pipeline(verified(bytes, descriptor, source.name), createWriteStream(blob));
        const read = abortable(createReadStream(blob), context.signal);
        await unpack(uncompressed(await firstBytes(blob), read, source.name), source.name, output, context.signal);
        await rm(blob);
      },
    },
    context,
  );
  const layer = layerSchema.parse(JSON.parse(await readFile(join(entry, 'layer.json'), 'utf8')));
  return { ...layer, contents: join(entry, 'files') };
}
