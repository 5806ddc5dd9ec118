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
  | { readonly guest: string; readonly kind: 'data'; readonly data: Uint8Array; readonly mode: number; readonly uid?: number; readonly gid?: number }
  | { readonly guest: string; readonly kind: 'directory'; readonly mode: number; readonly uid?: number; readonly gid?: number }
  | { readonly guest: string; readonly kind: 'symlink'; readonly target: string; readonly uid?: number; readonly gid?: number }
  /** A further name of a file. */
  | { readonly guest: string; readonly kind: 'hardlink'; readonly target: string }
  /** A character device. */
  | {
      readonly guest: string;
      readonly kind: 'device';
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
      readonly uid?: number;
      readonly gid?: number;
    };

/** Whom a program runs as, in Linux' numbers. */
export interface User {
  readonly uid: number;
  readonly gid: number;
  /** As setgroups(2) takes them. */
  readonly groups: readonly number[];
}

/** What a container image says of its process, and a configuration may say otherwise. */
export interface AppProcess {
  /** What other arguments may take the place of. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly user: User;
  /** What asks the program to end. */
  readonly stopSignal?: string | undefined;
  /** Ports that it listens on: "6379/tcp". */
  readonly exposed: readonly string[];
}

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
  /** Whether the files are a whole root file system, which has its own places and accounts. */
  readonly wholeRoot?: boolean | undefined;
  /** Further programs, by path, that the program executes and that are in ring 0 if it is. */
  readonly starts?: readonly string[] | undefined;
  readonly process?: AppProcess | undefined;
}
