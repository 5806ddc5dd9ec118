// SPDX-License-Identifier: MIT
/** Bochs' processors that the programs run on, and what cannot pass there. */

export interface Model {
  /** As `bochs --help cpu` lists them. */
  readonly name: string;
  readonly kernelArgs: readonly string[];
}

/** All have FSGSBASE, which ring 0 needs, SMEP and SMAP. */
export const MODELS: readonly Model[] = [
  { name: 'corei7_skylake_x', kernelArgs: ['noxsaves', 'clearcpuid=xsavec'] },
  { name: 'corei7_icelake_u', kernelArgs: [] },
  { name: 'ryzen', kernelArgs: [] },
];

/** Programs that are not run unless they are named, with the reason. */
export const LEFT_OUT: Readonly<Record<string, string>> = {};
