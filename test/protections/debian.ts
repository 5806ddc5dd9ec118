// SPDX-License-Identifier: MIT
/**
 * What protects a kernel, by the options of Debian's kernels and by the list
 * that Linux itself has (kernel/configs/hardening.config), and what of it ours
 * leave out, each with its reason.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { getDebianPackage } from '../../src/host/debian.js';
import { readOptions } from '../../src/kernels/kconfig.js';
import { kernelSpec } from '../../src/kernels/lines.js';
import { getKernelSource } from '../../src/kernels/source.js';
import { exec } from '../../src/lib/exec.js';
import type { KernelFlavour } from '../../src/model/index.js';
import type { StoreContext } from '../../src/store/store.js';

export type Options = ReadonlyMap<string, string>;

/** Protections by their names, beside those that Linux lists: a new one that fits is noticed when Debian turns it on. */
const PROTECTIONS: readonly RegExp[] = [
  // processors: their defects, what they check, what they report
  /^(CPU_)?MITIGATIONS?(_|$)/,
  /^X86_(UMIP|KERNEL_IBT|USER_SHADOW_STACK|INTEL_MEMORY_PROTECTION_KEYS|MCE(_INTEL|_AMD)?)$/,
  /^(AMD_MEM_ENCRYPT|INTEL_TDX_GUEST)$/,
  // memory: where things are, and what may be done there
  /^(RANDOMIZE|RANDOM_KMALLOC|SHUFFLE|(IO_)?STRICT)_/,
  /^(DEBUG_WX|VMAP_STACK|LEGACY_VSYSCALL_NONE)$/,
  // objects: the heap, stacks, lists
  /HARDENED|HARDENING|FORTIFY|STACKPROTECTOR|_STACK_END_CHECK|^RANDSTRUCT_(FULL|PERFORMANCE)$/,
  /^INIT_(ON|STACK)_|^ZERO_CALL_USED_REGS|^GCC_PLUGIN_|^UBSAN|^CFI_|^KFENCE$/,
  /^(SLAB_(FREELIST|BUCKETS)|DEBUG_LIST|BUG_ON_DATA_CORRUPTION|PAGE_(POISONING|TABLE_CHECK))/,
  // programs: what they may do
  /^(SECCOMP|SECURITY$|SECURITY_[A-Z]+(_LSM)?$)|_RESTRICT$|_UNPRIV_DEFAULT_OFF$|^SYN_COOKIES$/,
  // code and files that are signed
  /^(INTEGRITY|IMA|IMA_APPRAISE|EVM|MODULE_SIG|KEXEC_SIG|LOCK_DOWN_IN_EFI_SECURE_BOOT)$/,
];

/** Numbers that protect the better the greater they are. */
const AT_LEAST: readonly string[] = ['DEFAULT_MMAP_MIN_ADDR', 'ARCH_MMAP_RND_BITS', 'ARCH_MMAP_RND_COMPAT_BITS'];

interface Exclusion {
  readonly options: readonly string[];
  /** Where they are left out; both by default. */
  readonly kernels?: readonly KernelFlavour[];
  readonly why: string;
}

export const EXCLUSIONS: readonly Exclusion[] = [
  {
    options: ['X86_KERNEL_IBT', 'X86_USER_SHADOW_STACK', 'AMD_MEM_ENCRYPT'],
    why: 'CONFIG_UKL excludes them, and the stock kernel, with which ours is compared, is to differ by the series alone',
  },
  { options: ['INTEL_TDX_GUEST', 'RESET_ATTACK_MITIGATION', 'LOCK_DOWN_IN_EFI_SECURE_BOOT'], why: 'need EFI, and images boot without a firmware' },
  { options: ['MITIGATION_VMSCAPE'], why: 'protects a host of virtual machines: depends on KVM' },
  {
    options: ['IOMMU_SUPPORT', 'INTEL_IOMMU', 'INTEL_IOMMU_SVM', 'AMD_IOMMU'],
    why: 'the guest has no device of its own whose DMA could be confined: all are virtio, which the VMM does',
  },
  {
    options: [
      'SECURITY',
      'SECURITY_APPARMOR',
      'SECURITY_INFINIBAND',
      'SECURITY_IPE',
      'SECURITY_LANDLOCK',
      'SECURITY_LOCKDOWN_LSM',
      'SECURITY_NETWORK',
      'SECURITY_PATH',
      'SECURITY_SELINUX',
      'SECURITY_TOMOYO',
      'SECURITY_YAMA',
      'INTEGRITY',
      'IMA',
      'IMA_APPRAISE',
      'EVM',
    ],
    why: "security modules: hooks in each open, read and send, for policies that a distribution's user space loads and an image does not have. Landlock, which programs use by themselves, is a line of kernelConfig",
  },
  { options: ['SECURITY_PERF_EVENTS_RESTRICT'], why: "Debian's own patch: the source of kernel.org (--kernel-source) does not have it" },
  { options: ['STRICT_DEVMEM', 'IO_STRICT_DEVMEM'], why: 'there is no /dev/mem' },
  {
    options: ['KEXEC_SIG'],
    why: 'there is no kexec; with the profile hardware, PID 1 looks at what it loads, before any program runs, and then no kernel is loaded',
  },
  { options: ['BPF_UNPRIV_DEFAULT_OFF'], why: 'there is no bpf()' },
  { options: ['STRICT_MODULE_RWX'], kernels: ['stock'], why: 'there are no modules' },
  { options: ['MODULE_SIG'], why: 'the stock kernel has no modules; ours takes those of the image, from init, before any program runs, and then none' },
  {
    options: ['DEBUG_WX'],
    why: 'a look at the page tables at the end of each start, which protects nothing by itself and takes 140 million instructions: more than all else until main()',
  },
  { options: ['KFENCE', 'PAGE_POISONING'], why: "off in Debian's kernels as well until the command line turns them on: they find defects" },
];

interface Gap {
  readonly option: string;
  readonly theirs: string;
  readonly ours: string;
}

const value = (options: Options, name: string): string => options.get(`CONFIG_${name}`) ?? 'n';

/** Where a kernel is protected less than one of Debian's, or than Linux itself recommends where that is to turn something off. */
export function findGaps(ours: Options, debian: readonly Options[], hardening: Options): Gap[] {
  const named = (name: string): boolean => PROTECTIONS.some((pattern) => pattern.test(name)) || value(hardening, name) === 'y';
  const gaps: Gap[] = [];
  const names = new Set([...debian, hardening].flatMap((options) => [...options.keys()]).map((name) => name.replace('CONFIG_', '')));
  for (const name of names) {
    const mine = value(ours, name);
    const theirs = debian.map((options) => value(options, name));
    if (named(name) && theirs.includes('y') && mine !== 'y') gaps.push({ option: name, theirs: 'y', ours: mine });
    if (hardening.get(`CONFIG_${name}`) === 'n' && mine === 'y') gaps.push({ option: name, theirs: 'n', ours: mine });
    if (AT_LEAST.includes(name)) {
      const least = Math.max(...theirs.map(Number));
      if (Number(mine) < least) gaps.push({ option: name, theirs: String(least), ours: mine });
    }
  }
  return gaps;
}

/** The exclusions of a kernel, by option. */
export function excluded(flavour: KernelFlavour): ReadonlySet<string> {
  return new Set(EXCLUSIONS.filter(({ kernels }) => kernels?.includes(flavour) ?? true).flatMap(({ options }) => options));
}

/** The options of Debian's kernels for amd64, of the version whose source ours are built from. */
export async function getDebianOptions(context: StoreContext): Promise<ReadonlyMap<string, Options>> {
  const { path } = await getDebianPackage('linux-config-6.12', 'linux-source-6.12', context);
  const directory = join(path, 'usr/src/linux-config-6.12');
  const kernels = new Map<string, Options>();
  for (const file of await readdir(directory)) {
    const name = /^config\.amd64_none_(.+)\.xz$/.exec(file)?.[1];
    if (name !== undefined) kernels.set(name, readOptions(await exec('xz', ['-dc', join(directory, file)])));
  }
  return kernels;
}

/** What Linux itself takes for the basic hardening of a kernel. */
export async function getHardeningOptions(context: StoreContext): Promise<Options> {
  const { path } = await getKernelSource(kernelSpec('stock'), context);
  const texts = ['kernel/configs/hardening.config', 'arch/x86/configs/hardening.config'].map((file) => readFile(join(path, file), 'utf8'));
  return readOptions((await Promise.all(texts)).join('\n'));
}
