// SPDX-License-Identifier: MIT
import type { BootProtocol, ContainerName, Kernel, Requirement } from '../model/index.js';

/** The parts that a container puts before the initramfs. */
export interface ContainerParts {
  readonly kernel: Kernel;
  /** The words for the kernel that are in the image. */
  readonly cmdline: string;
  readonly initramfsBytes: number;
  /** The assembled code of `loader`. */
  readonly loader: Buffer;
}

/** A way to have kernel, command line and initramfs in one file. */
export interface Container {
  readonly name: ContainerName;
  /** For help and documentation. */
  readonly title: string;
  readonly requirements: readonly Requirement[];
  readonly boot: BootProtocol;
  /** The file of the kernel that it carries. */
  readonly carries: 'bzImage' | 'vmlinux';
  /** The source, in boot/, of the code between kernel and initramfs. */
  readonly loader: string;
  /** All that comes before the initramfs. Throws UKL_IMAGE, UKL_USAGE. */
  prefix(parts: ContainerParts): Promise<Buffer>;
}
