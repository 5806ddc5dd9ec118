// SPDX-License-Identifier: MIT
/** Images to registries and archives, and back. */
import { copyFile, rename, rm } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { UklError } from '../lib/errors.js';
import { silentLog } from '../lib/log.js';
import { makeScratch } from '../lib/scratch.js';
import { getLayers, readContainer } from '../oci/container.js';
import { copyImage } from '../oci/copy.js';
import { openSink, openSource } from '../oci/open.js';
import { nameOf, parseReference, showReference } from '../oci/reference.js';
import { getUnikernel, packUnikernel } from '../oci/unikernel.js';
import type { Context } from '../options/given.js';
import { isImage, openImage } from './image.js';

export interface Pushed {
  readonly reference: string;
  /** Of the image's manifest. */
  readonly digest: string;
}

/**
 * Pushes an image that ukl built, or any container image, to where a reference says.
 *
 * @throws UKL_REGISTRY, UKL_IMAGE, UKL_USAGE; what was there before stays
 */
export async function push(what: string, to: string, { log = silentLog, signal }: Context = {}): Promise<Pushed> {
  const reference = parseReference(to);
  await using scratch = await makeScratch('push');
  const sink = openSink(reference, scratch.path, signal);
  const digest = await log.step(`push ${basename(what)} to ${showReference(reference)}`, async () => {
    if (!(await isImage(what))) return copyImage(await readContainer(await openSource(parseReference(what), signal)), sink, signal);
    const { path, manifest } = await openImage(what);
    if (manifest.container !== 'bzImage' && manifest.container !== 'elf') {
      throw new UklError('UKL_USAGE', `${what} is a medium (${manifest.container}); a container image carries a kernel with all in it`, {
        hint: `ukl build TARGET -o IMAGE && ukl push IMAGE ${to}`,
      });
    }
    return packUnikernel({ file: path, manifest, sink, work: scratch.path, signal });
  });
  return { reference: showReference(reference), digest };
}

export interface Pulled {
  readonly digest: string;
  /** What was written; undefined for a container image that is in the store now. */
  readonly file: string | undefined;
  /** Whether it is a unikernel of ukl's. */
  readonly unikernel: boolean;
}

/**
 * Pulls an image: a unikernel into the file that boots, any other into the store, or with
 * `out` into a layout. A name that ends in .tar is that of an archive with the whole image.
 *
 * @throws UKL_REGISTRY, UKL_NO_TARGET, UKL_IMAGE; nothing half-written is left
 */
export async function pull(from: string, { out, log = silentLog, signal }: Context & { readonly out?: string | undefined } = {}): Promise<Pulled> {
  const reference = parseReference(from);
  const image = await readContainer(await openSource(reference, signal));
  const { digest } = image.document.descriptor;
  if (out?.endsWith('.tar')) {
    await using scratch = await makeScratch('pull');
    await copyImage(image, openSink(parseReference(`oci-archive:${out}:latest`), scratch.path, signal), signal);
    return { digest, file: resolve(out), unikernel: false };
  }
  const booted = await getUnikernel(image, { log, signal });
  if (booted === undefined) {
    if (out === undefined) await getLayers(image, { log, signal });
    else await copyImage(image, openSink(parseReference(`oci:${out}:latest`), '', signal), signal);
    return { digest, file: out === undefined ? undefined : resolve(out), unikernel: false };
  }
  const file = resolve(out ?? `${nameOf(reference)}.image`);
  const partial = `${file}.partial-${process.pid}`;
  try {
    await copyFile(booted, partial);
    await openImage(partial);
    await rename(partial, file);
  } finally {
    await rm(partial, { force: true });
  }
  return { digest, file, unikernel: true };
}
