// SPDX-License-Identifier: MIT
import { UklError } from '../lib/errors.js';
import { archiveFiles, dockerSource } from './archive.js';
import { directoryFiles, layoutSource } from './layout.js';
import { type Reference, showReference } from './reference.js';
import type { Source } from './source.js';

/** What a reference leads to. Throws UKL_NO_TARGET, UKL_IMAGE. */
export async function openSource(reference: Reference): Promise<Source> {
  switch (reference.kind) {
    case 'layout':
      return layoutSource(directoryFiles(reference.path), reference.tag);
    case 'oci-archive':
      return layoutSource(await archiveFiles(reference.path), reference.tag);
    case 'docker-archive':
      return dockerSource(reference.path, reference.tag);
    case 'registry':
      throw new UklError('UKL_NO_TARGET', `${showReference(reference)} is in a registry, which ukl does not read yet`, {
        hint: `skopeo copy docker://${showReference(reference)} oci:image`,
      });
  }
}
