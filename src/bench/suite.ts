// SPDX-License-Identifier: MIT

import type { ContainerName, ImageManifest, KernelFlavour, KernelProfile, Ring } from '../model/index.js';
import type { Load as OptimizedFor } from '../optimize/optimize.js';
import type { UklConfig } from '../options/config.js';

/** What is compared, in one run, on the same VMM. Of a suite's, the first is the baseline. */
export const VARIANTS = [
  { name: 'debian', title: "Debian's kernel on q35", kernel: 'stock', ring: 3, libc: 'host' },
  { name: 'pid1', title: 'stock kernel, the program as PID 1', kernel: 'stock', ring: 3, libc: 'host' },
  { name: 'pid1-server', title: 'stock kernel of the profile server, the program as PID 1', kernel: 'stock', ring: 3, libc: 'host', profile: 'server' },
  { name: 'stock', title: 'stock kernel', kernel: 'stock', ring: 3, libc: 'host' },
  { name: 'ring3', title: 'our kernel, ring 3', kernel: 'ukl', ring: 3, libc: 'host' },
  { name: 'ring0', title: 'ring 0, unmodified', kernel: 'ukl', ring: 0, libc: 'host' },
  { name: 'linked', title: 'ring 0, our C library', kernel: 'ukl', ring: 0, libc: 'ukl' },
  { name: 'fit', title: 'ring 0, our C library, a fitted kernel', kernel: 'ukl', ring: 0, libc: 'ukl', profile: 'fit' },
  { name: 'express', title: 'ring 0, our C library, express', kernel: 'ukl', ring: 0, libc: 'ukl', express: true },
  {
    name: 'optimized',
    title: 'the same, the kernel optimised for the load',
    kernel: 'ukl',
    ring: 0,
    libc: 'ukl',
    express: true,
  },
  { name: 'shortcuts', title: 'ring 0, our C library, shortcuts', kernel: 'ukl', ring: 0, libc: 'ukl' },
] as const satisfies readonly {
  name: string;
  title: string;
  kernel: KernelFlavour;
  ring: Ring;
  libc: 'ukl' | 'host';
  profile?: KernelProfile | 'fit';
  express?: boolean;
}[];

export type Variant = (typeof VARIANTS)[number];
export type VariantName = Variant['name'];

/** Whether a variant has the program in the place of an init, as a small system has it. */
export const isPid1 = ({ name }: Variant): boolean => name === 'pid1' || name === 'pid1-server';

/** Those that every workload has: PID 1 in place of our init, and shortcuts, take a program that is made for it. */
export const USUAL: readonly VariantName[] = ['stock', 'ring3', 'ring0', 'linked'];

export interface Built {
  readonly image: string;
  readonly manifest: ImageManifest;
  readonly variant: Variant;
  /** Ends its guests. */
  readonly signal?: AbortSignal | undefined;
}

/** Guest instructions are exact and the same on each machine; seconds are neither. */
export type Clock = 'instructions' | 'wall';

export interface Metric {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly better: 'less' | 'more';
  readonly clock: Clock;
}

/** A guest program that prints what it measured. */
export interface Workload {
  readonly clock: Clock;
  readonly target: string | UklConfig;
  /** A bzImage by default. */
  readonly container?: ContainerName;
  /** `USUAL` by default. */
  readonly variants?: readonly VariantName[];
  readonly args?: readonly string[];
  /** The server's path in the guest, if it is not the program that starts. */
  readonly server?: string;
  readonly files?: readonly string[];
  /** What the variant "optimized" is optimised for. */
  readonly load?: OptimizedFor;
  /** Numbers by the names of metrics, from what the guest printed. */
  readonly parse: (stdout: string) => Readonly<Record<string, number>>;
  /** In place of a run whose output is parsed. */
  readonly measure?: (built: Built) => Promise<Readonly<Record<string, number>>>;
}

export interface Suite {
  readonly name: string;
  readonly title: string;
  /** Debian packages with the servers and their clients. */
  readonly packages: readonly { readonly package: string; readonly why: string; readonly file: string }[];
  readonly metrics: readonly Metric[];
  readonly workloads: readonly Workload[];
}
