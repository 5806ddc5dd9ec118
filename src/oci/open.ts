// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { UklError } from '../lib/errors.js';
import { archiveFiles, archiveSink, dockerSink, dockerSource } from './archive.js';
import { directoryFiles, layoutSink, layoutSource } from './layout.js';
import type { Reference } from './reference.js';
import { registrySink, registrySource } from './registry.js';
import type { Sink, Source } from './source.js';

/** What a reference leads to. Throws UKL_NO_TARGET, UKL_IMAGE. */
export async function openSource(reference: Reference, signal?: AbortSignal): Promise<Source> {
  switch (reference.kind) {
    case 'layout':
      return layoutSource(directoryFiles(reference.path), reference.tag);
    case 'oci-archive':
      return layoutSource(await archiveFiles(reference.path, signal), reference.tag);
    case 'docker-archive':
      return dockerSource(reference.path, reference.tag, signal);
    case 'registry':
      return registrySource(reference, signal);
  }
}

/** A place for an image; what comes on the way to an archive is in `work`. Throws UKL_USAGE. */
export function openSink(reference: Reference, work: string, signal: AbortSignal | undefined): Sink {
  if (reference.kind === 'registry') {
    if (reference.digest === undefined) return registrySink(reference, signal);
    throw new UklError('UKL_USAGE', 'an image is pushed to a tag: its digest follows from what it is', {
      hint: `${reference.host}/${reference.repository}:TAG`,
    });
  }
  const { path, tag } = reference;
  if (!existsSync(dirname(path))) throw new UklError('UKL_USAGE', `the directory ${dirname(path)} does not exist`, { hint: `mkdir -p ${dirname(path)}` });
  if (reference.kind === 'layout') return layoutSink(path, tag);
  return reference.kind === 'oci-archive' ? archiveSink(path, tag, work) : dockerSink(path, tag, work);
}
