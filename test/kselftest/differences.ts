// SPDX-License-Identifier: MIT
import type { Explanation } from '../batch/compare.js';

/** A processor without the kernel's GS base serves no interrupt any more; what NMIs find of it does not add up. */
const HANGS = /^\[|^end: |^kernel: (rcu: INFO: rcu_\w+ detected stalls|WARNING: stack (going in the wrong direction|recursion))/;

/**
 * What differs in ring 0 and should. Anything else that differs fails the
 * command, and so do a dead guest and the kernel's own complaints.
 */
export const EXPLANATIONS: readonly Explanation[] = [
  {
    test: 'x86/iopl_64',
    why: 'The test expects that the processor refuses CLI, STI and ports to it. It refuses ring 0 nothing, whatever iopl() has said.',
  },
  {
    test: 'x86/ioperm_64',
    why: 'The test expects that the processor refuses ports to it until ioperm(). It refuses ring 0 none.',
  },
  {
    test: 'x86/check_initial_reg_state_64',
    lines: /FLAGS is|^end: exit/,
    why: 'EFLAGS.AC is set at the first instruction: it opens user pages to ring 0 in spite of SMAP.',
  },
  {
    test: 'x86/sigreturn_64',
    why: "The test returns from signals to code and stack segments of its own, 16 and 32 bits wide. Code in ring 0 has the kernel's CS and SS, always: what the frame says about them does not count.",
  },
  {
    test: 'x86/ldt_gdt_64',
    why: 'The test loads an LDT selector of privilege 3 into SS, which faults in ring 0. Its handler takes that for the fault it expects later, and the test waits for ever for a thread that nobody has woken.',
  },
  {
    test: 'x86/syscall_arg_fault_64',
    lines: HANGS,
    why: "The last part of the test writes a negative address into GS with WRGSBASE, which ring 3 may do. In ring 0, GS is the kernel's own: the guest hangs at the next interrupt. arch_prctl(ARCH_SET_GS) is refused; the instruction cannot be.",
  },
  {
    test: 'x86/fsgsbase_64',
    lines: /GS|Index and base|^end: exit/,
    why: "arch_prctl(ARCH_SET_GS) is refused: in ring 0, GS is the kernel's own. The test ends there.",
  },
  {
    test: 'x86/mov_ss_trap_64',
    lines: /aten't dead|^end: (exit 0|signal 11)/,
    why: 'On the stock kernel QEMU 7.2 ends it: SYSCALL behind a MOV SS that is watched. In ring 0 it passes.',
  },
  {
    test: 'x86/fsgsbase_restore_64',
    lines: HANGS,
    why: "The tracee loads a selector into GS, which sets its base. In ring 0, GS is the kernel's own: the guest hangs at the next interrupt. See Documentation/arch/x86/ukl.rst.",
  },
  {
    test: 'x86/sysret_ss_attrs_64',
    lines: /^end: (signal 11|exit \d|guest: panic)|^\[|^kernel: (BUG: unable to handle page fault|Oops|Kernel panic)/,
    why: 'The test calls 32-bit code by a far return. In ring 3, QEMU 7.2 reads the stack of a far return with the rights of the supervisor, which SMAP refuses: the stock kernel panics. In ring 0 the far return leads to ring 3, which cannot execute the pages of a ring 0 program: SIGSEGV.',
  },
  ...['timers/set-timer-lat', 'timers/nsleep-lat'].map((test) => ({
    test,
    lines: /latency|^(not )?ok \d+ CLOCK|^end: (exit|timeout)/,
    why: 'Latencies of timers in real time. In emulation, the host decides which of them are too long; others are on each run, on either side.',
  })),
];
