// SPDX-License-Identifier: MIT
/** Bochs' processors that the programs run on, and what cannot pass there. */

export interface Model {
  /** As `bochs --help cpu` lists them. */
  readonly name: string;
  readonly kernelArgs: readonly string[];
}

/** All have FSGSBASE, which ring 0 needs, SMEP and SMAP. docs/notes/bochs.md says why the arguments. */
export const MODELS: readonly Model[] = [
  // Page-table isolation, the registers of AVX-512 by XSAVEOPT.
  { name: 'corei7_skylake_x', kernelArgs: ['noxsaves', 'clearcpuid=xsavec'] },
  // No page-table isolation, UMIP, FXSAVE.
  { name: 'corei7_icelake_u', kernelArgs: ['noxsave'] },
];

/** Programs that are not run unless they are named, with the reason. */
export const LEFT_OUT: Readonly<Record<string, string>> = {};

/** What the kernel complains about because of Bochs, in whichever ring. */
export interface Excuse {
  readonly complaint: RegExp;
  /** What has to be among the lines behind it, or the complaint is about something else. */
  readonly behind: RegExp;
  readonly why: string;
}

export const EXCUSES: readonly Excuse[] = [
  {
    complaint: /^WARNING: .* exc_debug_kernel\+/,
    behind: /^RIP: 0010:entry_SYSCALL_64\+0x0\//,
    why: 'Bochs takes the trap of a single step behind a SYSCALL that has cleared TF, at the first instruction of the kernel. Processors look at TF when SYSCALL is done (so does QEMU), and the kernel counts on it, for programs in ring 3 as well',
  },
];
