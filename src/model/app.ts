// SPDX-License-Identifier: MIT

/** Our C library: Debian's, with system calls that are calls in ring 0. */
export interface Libc {
  /** "2.36" */
  readonly version: string;
  /** Holds ukl-gcc and ukl-g++. */
  readonly bin: string;
  /** Start files, archives and shared objects, side by side. */
  readonly lib: string;
}

/** A file, directory or symbolic link of the guest. */
export type GuestFile =
  | { readonly guest: string; readonly kind: 'file'; readonly host: string; readonly mode: number; readonly uid?: number; readonly gid?: number }
  | { readonly guest: string; readonly kind: 'data'; readonly data: Uint8Array; readonly mode: number }
  | { readonly guest: string; readonly kind: 'directory'; readonly mode: number; readonly uid?: number; readonly gid?: number }
  | { readonly guest: string; readonly kind: 'symlink'; readonly target: string }
  /** A character device. */
  | { readonly guest: string; readonly kind: 'device'; readonly mode: number; readonly major: number; readonly minor: number };

/** A program with all that it needs, before it is in an image. */
export interface App {
  readonly name: string;
  /** The ELF on the host, for symbols. */
  readonly host: string;
  /** Its path in the guest. */
  readonly guest: string;
  /** argv[0] (redis-server is a link, and goes by the name) and arguments that always follow. */
  readonly command: readonly string[];
  readonly files: readonly GuestFile[];
}
