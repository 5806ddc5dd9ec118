// SPDX-License-Identifier: MIT
/** Container images on the way to a cluster: named by the user, pushed by skopeo, and pinned by their digest. */

import { shellQuote } from '../../lib/shell.js';
import { findReference, type Reference } from '../../oci/reference.js';
import { isLoopback } from '../../oci/registry.js';
import type { DeployParts, Setting, Tool } from '../platform.js';

const tagged = (image: string): (Reference & { kind: 'registry' }) | undefined => {
  const found = findReference(image);
  return found?.kind === 'registry' && found.digest === undefined ? found : undefined;
};

export const IMAGE: Setting = { name: 'image', help: 'HOST/NAME:TAG of a registry', takes: (value) => tagged(value) !== undefined };
export const SKOPEO: Tool = { command: 'skopeo', from: "Debian's skopeo" };

/** What a cluster is told: of a tag that moves, a digest tells the images apart. */
export const pinned = ({ settings: { image = '' }, digest }: DeployParts): string => (digest === undefined ? image : `${image}@${digest}`);

/** A line of a script. */
export function push({ files, settings: { image = '' } }: DeployParts): string {
  const http = isLoopback(tagged(image)?.host ?? '') ? '--dest-tls-verify=false ' : '';
  return `skopeo copy --preserve-digests ${http}${shellQuote(`oci-archive:${files.oci ?? ''}`)} ${shellQuote(`docker://${image}`)}\n`;
}
