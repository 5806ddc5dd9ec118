// SPDX-License-Identifier: MIT
/** The lines of Linux that have a series. A new one is a folder below kernel/ and an entry here. */
import { join } from 'node:path';
import { projectRoot } from '../lib/paths.js';
import { Registry } from '../lib/registry.js';
import type { KernelFlavour, KernelLineName, KernelProfile, KernelSpec, Requirement } from '../model/index.js';

export interface KernelLine {
  readonly name: KernelLineName;
  /** Year and month in which kernel.org's support ends. */
  readonly endOfSupport: string;
  /** Patches that make the kernel ours, in the order of their names. */
  readonly series: string;
  /** Patches that any Linux could use, which go on top of the series. */
  readonly general: string;
  /** Fragments of a .config, in order. */
  readonly config: Readonly<Record<KernelProfile, Readonly<Record<KernelFlavour, readonly string[]>>>>;
  /** Debian's sources, and the package that installs them. */
  readonly source: { readonly package: string; readonly tarball: string };
  readonly requirements: readonly Requirement[];
}

const SOURCE_6_12 = { package: 'linux-source-6.12', tarball: '/usr/src/linux-source-6.12.tar.xz' } as const;
const fragments = (...names: readonly string[]): readonly string[] => names.map((name) => join(projectRoot, 'kernel/6.12/config', `${name}.config`));

const linux612: KernelLine = {
  name: '6.12',
  endOfSupport: '2026-12',
  series: join(projectRoot, 'kernel/6.12/patches'),
  general: join(projectRoot, 'kernel/6.12/general'),
  config: {
    server: { stock: fragments('core', 'server'), ukl: fragments('core', 'server', 'ukl', 'ukl-server') },
    hardware: { stock: fragments('core', 'server', 'hardware'), ukl: fragments('core', 'server', 'hardware', 'ukl', 'ukl-server') },
    hello: { stock: fragments('core', 'hello'), ukl: fragments('core', 'hello', 'ukl') },
  },
  source: SOURCE_6_12,
  requirements: [
    { package: SOURCE_6_12.package, why: 'the kernel that the series is applied to', file: SOURCE_6_12.tarball },
    { package: 'gcc', why: 'compiles the kernel and C programs', file: '/usr/bin/gcc' },
    { package: 'make', why: 'drives the kernel build', file: '/usr/bin/make' },
    { package: 'flex', why: "Kconfig's scanner", file: '/usr/bin/flex' },
    { package: 'bison', why: "Kconfig's parser", file: '/usr/bin/bison' },
    { package: 'bc', why: "the kernel's time constants", file: '/usr/bin/bc' },
    { package: 'perl', why: 'scripts of the kernel build', file: '/usr/bin/perl' },
    { package: 'libelf-dev', why: 'objtool reads object files', file: '/usr/include/libelf.h' },
    { package: 'xz-utils', why: 'unpacks the kernel source', file: '/usr/bin/xz' },
    { package: 'lz4', why: 'compresses the kernel', file: '/usr/bin/lz4' },
    { package: 'patch', why: 'applies the series', file: '/usr/bin/patch' },
  ],
};

export const kernelLines = new Registry<KernelLineName, KernelLine>('kernel line', [linux612]);

/** A kernel of the default line, with nothing of its own. */
export const kernelSpec = (flavour: KernelFlavour, profile: KernelProfile = 'server'): KernelSpec => ({
  line: DEFAULT_LINE,
  flavour,
  profile,
  fragments: [],
});

/** The line of a target that names none. */
export const DEFAULT_LINE: KernelLineName = '6.12';
