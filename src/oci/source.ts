// SPDX-License-Identifier: MIT
/** The seams: where images come from, and where they go. */
import type { Bytes } from './digest.js';
import type { Descriptor } from './spec.js';

/** A manifest or an index, as it is there: the descriptor's digest is that of these bytes. */
export interface Document {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

export interface Source {
  /** For messages. */
  readonly name: string;
  /** What the reference leads to, verified. Throws UKL_NO_TARGET, UKL_IMAGE. */
  root(): Promise<Document>;
  /** A manifest that an index names, verified. */
  document(descriptor: Descriptor): Promise<Document>;
  /** The bytes of a configuration or a layer, which the caller verifies. */
  blob(descriptor: Descriptor): Promise<Bytes>;
}

/** Takes blobs first, then the manifest that names them: before that, nobody sees an image. */
export interface Sink {
  readonly name: string;
  /** Whether it has a blob already. */
  has(descriptor: Descriptor): Promise<boolean>;
  /** Takes a blob, whose bytes the caller verifies as they go. */
  put(descriptor: Descriptor, bytes: Bytes): Promise<void>;
  finish(manifest: Document): Promise<void>;
  /** Removes what was not finished. */
  abandon(): Promise<void>;
}
