// SPDX-License-Identifier: MIT

/** Which kernel: ours, or the unpatched baseline of every comparison. */
export type KernelFlavour = 'ukl' | 'stock';

/** A line of kernels: what shares a series of patches and a configuration. `src/kernels` has the registry. */
export type KernelLineName = '6.12';

/** What a kernel is built for: any server in a VM, the same with the drivers of real and of other machines, or one small program with nothing else. */
export type KernelProfile = 'server' | 'hardware' | 'hello';

/** Whether it has one program and no more than that needs. */
export const isSmall = (profile: KernelProfile | 'fit'): boolean => profile === 'hello' || profile === 'fit';

/** The privilege level that a program is meant to run at. */
export type Ring = 0 | 3;

/** How often each arc of the kernel's functions was taken under a load, as GCC's -fprofile-use reads it. */
export interface ArcCounts {
  /** Holds a .gcda file for each compiled file. */
  readonly directory: string;
  /** Names the counts: all that determines them is in it. */
  readonly id: string;
  /** What they were recorded under. */
  readonly load: string;
}

/** A kernel that can be built. */
export interface KernelSpec {
  readonly line: KernelLineName;
  readonly flavour: KernelFlavour;
  readonly profile: KernelProfile;
  /** Further options on top of the profile's, as lines of a .config. */
  readonly options?: readonly string[] | undefined;
  /** What it is optimised for. */
  readonly counts?: ArcCounts | undefined;
  /** Files with further options, on top of these; the last one that names an option decides. */
  readonly fragments: readonly string[];
  /** A tarball of the line's sources in place of the distribution's. */
  readonly tarball?: string | undefined;
}

/** A kernel that was built. */
export interface Kernel {
  readonly line: KernelLineName;
  readonly flavour: KernelFlavour;
  /** "6.12.117" */
  readonly version: string;
  /** Compressed, with KASLR. */
  readonly bzImage: string;
  /** The same with symbols, also bootable through its PVH entry (no KASLR). */
  readonly vmlinux: string;
  readonly config: string;
  readonly spec: KernelSpec;
  /** What modules are built with besides the source, if the kernel takes any: the tree of the build. */
  readonly modules: string | undefined;
  /** SHA-256 of its files by name. */
  readonly hashes: Readonly<Record<string, string>>;
}
