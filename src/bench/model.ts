// SPDX-License-Identifier: MIT
/**
 * What counts would cost on a machine: a model, no measurement. Emulation counts a
 * SYSCALL as one instruction, and an exit to the hypervisor as none.
 */
import type { Counts } from './counter.js';

export interface Costs {
  /** Cycles of an instruction, all in all. */
  readonly cpi: number;
  /** Cycles of a SYSCALL and its way back, beyond its instructions. */
  readonly crossing: number;
  /** Cycles of an exit to the host's kernel and back. */
  readonly exit: number;
  /** Cycles of one that goes on to the VMM, outside of that kernel. */
  readonly exitToVmm: number;
}

/**
 * crossing: getppid() in a virtual machine on a Xeon Gold 6148 without and with page-table isolation, 130 and 560 cycles
 * (imagefactory.otc.t-systems.com, "KPTI/IBRS/Retpoline Microbenchmarks", 2018). exit, exitToVmm: 1,376 cycles for VMRUN and back, 2,528 for the
 * ioctl around it (M. Roth on linux-kernel, 2020-12-02, "KVM: SVM: use vmsave/vmload", EPYC). cpi: an assumption.
 */
export const MODELS: Readonly<Record<string, Costs>> = {
  plain: { cpi: 1, crossing: 130, exit: 1376, exitToVmm: 2528 },
  pti: { cpi: 1, crossing: 560, exit: 1376, exitToVmm: 2528 },
};

/** Cycles of a request: instructions, ways into the kernel, and exits: one for a kick, which the VMM serves; one for an interrupt, whose end the host hears of; two for a halt. */
export function cyclesOf(each: Counts, { cpi, crossing, exit, exitToVmm }: Costs): number {
  const { instructions = NaN, syscall = 0, kick = 0, interrupt = 0, timer = 0, halt = 0 } = each;
  return instructions * cpi + syscall * crossing + kick * exitToVmm + (interrupt + timer + 2 * halt) * exit;
}
