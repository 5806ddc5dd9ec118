// SPDX-License-Identifier: MIT
import type { BootProtocol, ContainerName, ImageManifest, Kernel, KernelBoot, Requirement } from '../model/index.js';

/** The parts that a kernel's container puts before the initramfs. */
export interface ContainerParts {
  readonly kernel: Kernel;
  /** The words for the kernel that are in the image. */
  readonly cmdline: string;
  readonly initramfsBytes: number;
  /** The assembled code of `loader`. */
  readonly loader: Buffer;
}

interface Common {
  readonly name: ContainerName;
  /** For help and documentation. */
  readonly title: string;
  readonly requirements: readonly Requirement[];
}

/** One file that a boot loader or a VMM takes for a kernel; its manifest is behind it. */
export interface KernelContainer extends Common {
  readonly kind: 'kernel';
  readonly boot: KernelBoot;
  /** The file of the kernel that it carries. */
  readonly carries: 'bzImage' | 'vmlinux';
  /** The source, in boot/, of the code between kernel and initramfs. */
  readonly loader: string;
  /** All that comes before the initramfs. Throws UKL_IMAGE, UKL_USAGE. */
  prefix(parts: ContainerParts): Promise<Buffer>;
}

/** Who vouches for an image: PEM files of a private key and its certificate. */
export interface Signer {
  readonly key: string;
  readonly cert: string;
}

/** A root file system that has a partition of its own. */
export interface RootPart {
  readonly file: string;
  readonly bytes: number;
  /** The partition's, by which the kernel finds it. */
  readonly uuid: string;
}

export interface MediumParts {
  readonly bzImage: string;
  /** Undefined with a root file system. */
  readonly initramfs: string | undefined;
  readonly root: RootPart | undefined;
  /** SHA-256 of the two. */
  readonly sums: readonly [string, string];
  /** The words for the kernel that are in the image. */
  readonly cmdline: string;
  /** Of the image: what a boot loader shows. */
  readonly name: string;
  readonly signer: Signer | undefined;
  /** The disk has a second slot, for a later image. */
  readonly updates: boolean;
  /** Of a machine that the medium describes. */
  readonly memoryMiB: number;
  readonly cpus: number;
  /** The file to write. */
  readonly out: string;
  /** For what is made on the way. */
  readonly work: string;
  readonly log: string;
  readonly signal: AbortSignal | undefined;
}

/** A medium, or a program of the firmware's, which other machines boot too; its manifest is in a file beside it. */
export interface MediumContainer extends Common {
  readonly kind: 'medium';
  readonly boot: Exclude<BootProtocol, 'linux' | 'pvh'>;
  readonly carries: 'bzImage';
  /** Whether it has partitions, or is for some: a root file system can have one, and updates another. */
  readonly partitions?: boolean;
  /** QEMU's name of the format, where a VMM can have it as a disk. */
  readonly format?: string;
  /** Writes the file, the same bits for the same parts unless the format has a time or a random number in it. Throws UKL_COMMAND. */
  write(parts: MediumParts): Promise<void>;
}

/** A way to have kernel, command line and initramfs in one file. */
export type ImageContainer = KernelContainer | MediumContainer;

export interface PackageParts {
  /** A finished image, of the container that `carries` names. */
  readonly file: string;
  readonly manifest: ImageManifest;
  /** What to make. */
  readonly out: string;
  readonly work: string;
  readonly signal: AbortSignal | undefined;
}

/** A finished image in what other tools carry around. */
export interface PackageContainer extends Common {
  readonly kind: 'package';
  readonly carries: 'bzImage';
  /** Whether `out` may be a directory that is there already. */
  takes(directory: string): boolean;
  /** Makes it, the same bits for the same image, and returns the word by which `ukl run` finds it. */
  write(parts: PackageParts): Promise<string>;
}

export type Container = ImageContainer | PackageContainer;
