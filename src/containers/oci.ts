// SPDX-License-Identifier: MIT
/** A container image that carries a unikernel, as a layout or in one archive. */
import { isLayout } from '../oci/layout.js';
import { openSink } from '../oci/open.js';
import { parseReference, showReference } from '../oci/reference.js';
import { packUnikernel } from '../oci/unikernel.js';
import type { PackageContainer } from './container.js';

export const oci: PackageContainer = {
  kind: 'package',
  name: 'oci',
  title: 'a container image, for registries: a layout, or an archive if the name ends in .tar',
  requirements: [],
  carries: 'bzImage',
  takes: isLayout,
  write: async ({ file, manifest, out, work, signal }) => {
    const reference = parseReference(`${out.endsWith('.tar') ? 'oci-archive' : 'oci'}:${out}:latest`);
    await packUnikernel({ file, manifest, work, signal, sink: openSink(reference, work, signal) });
    return showReference(reference);
  },
};
