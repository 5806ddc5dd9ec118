// SPDX-License-Identifier: MIT
import { basename, resolve } from 'node:path';
import { UklError } from '../lib/errors.js';

/** Where an image is, in the words of skopeo and podman. */
export type Reference =
  | { readonly kind: 'layout' | 'oci-archive' | 'docker-archive'; readonly path: string; readonly tag: string | undefined }
  | { readonly kind: 'registry'; readonly host: string; readonly repository: string; readonly tag: string; readonly digest: string | undefined };

const KINDS = { oci: 'layout', 'oci-archive': 'oci-archive', 'docker-archive': 'docker-archive' } as const;

const FORMS = 'oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, or HOST[:PORT]/NAME[:TAG]';

/** distribution-spec: names, tags and digests; the host as docker tells it from a part of a name. */
const REGISTRY =
  /^(?:docker:\/\/)?((?:[\w-]+\.)+[\w-]+(?::\d+)?|[\w-]+:\d+|localhost|\[[0-9a-f:]+\](?::\d+)?)\/([a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*)(?::(\w[\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$/;

/** FILE:HOST/NAME:TAG, split. */
function namedByHost(rest: string): readonly string[] | undefined {
  const at = rest.indexOf(':');
  const [path, name] = [rest.slice(0, at), rest.slice(at + 1)];
  return at > 0 && REGISTRY.exec(name)?.[3] !== undefined ? [rest, path, name] : undefined;
}

/** What a word refers to, relative to a directory; undefined for one that has none of the forms. */
export function findReference(word: string, directory = process.cwd()): Reference | undefined {
  const [, kind, rest = ''] = /^(oci|oci-archive|docker-archive):(?!\/\/)(.+)$/.exec(word) ?? [];
  if (kind !== undefined) {
    // A colon that a path follows is the path's own, unless docker would take it for a name with its registry.
    const [, path = rest, tag] = (kind === 'docker-archive' ? namedByHost(rest) : undefined) ?? /^(.+?):([\w][^/]*)$/.exec(rest) ?? [];
    return { kind: KINDS[kind as keyof typeof KINDS], path: resolve(directory, path), tag };
  }
  const [, host, repository = '', tag, digest] = REGISTRY.exec(word) ?? [];
  return host === undefined ? undefined : { kind: 'registry', host, repository, tag: tag ?? 'latest', digest };
}

/** Throws UKL_USAGE for a word that refers to no image. */
export function parseReference(word: string, directory?: string): Reference {
  const found = findReference(word, directory);
  if (found === undefined) throw new UklError('UKL_USAGE', `${word} does not say where an image is`, { hint: FORMS });
  return found;
}

export function showReference(reference: Reference): string {
  if (reference.kind === 'registry') {
    const { host, repository, tag, digest } = reference;
    return digest === undefined ? `${host}/${repository}:${tag}` : `${host}/${repository}@${digest}`;
  }
  const { kind, path, tag } = reference;
  return `${kind === 'layout' ? 'oci' : kind}:${path}${tag === undefined ? '' : `:${tag}`}`;
}

/** A name for what is made of an image: the last part of where it is. */
export function nameOf(reference: Reference): string {
  const last = reference.kind === 'registry' ? basename(reference.repository) : basename(reference.path).replace(/\.(tar|oci)$/, '');
  return last.replaceAll(/[^\w.-]+/g, '-').replace(/^[.-]+/, '') || 'container';
}
