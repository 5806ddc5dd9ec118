// SPDX-License-Identifier: MIT
import type { Explanation } from '../batch/compare.js';

/** Stressors that do in ring 0 what ring 3 would be kept from. Anything else that differs fails the command. */
export const EXPLANATIONS: readonly Explanation[] = [
  {
    test: 'smi',
    lines: /^end: exit (0|2)/,
    why: 'The stressor asks for an I/O port (ioperm), which takes CAP_SYS_RAWIO. Below a ring 0 program nobody has that capability, so it is skipped; on the stock kernel it gets the port, and no interrupt of the machine from it.',
  },
  {
    test: 'priv-instr',
    lines: /^end: /,
    why: 'The stressor executes privileged instructions (LGDT, LIDT, HLT, MOV to control registers, ...) and counts the signals that they bring in ring 3. In ring 0 they do what they say, to the machine.',
  },
];
