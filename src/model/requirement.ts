// SPDX-License-Identifier: MIT

/** A Debian package that a part of ukl needs on the host. */
export interface Requirement {
  readonly package: string;
  /** What it is needed for, as a phrase: "unpacks the kernel source". */
  readonly why: string;
  /** A file that the package brings; dpkg is asked where this is undefined. */
  readonly file?: string;
}
