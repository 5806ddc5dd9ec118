// SPDX-License-Identifier: MIT
import type { Explanation } from '../batch/compare.js';

/** Stressors that do in ring 0 what ring 3 would be kept from. Anything else that differs fails the command. */
export const EXPLANATIONS: readonly Explanation[] = [
  {
    test: 'priv-instr',
    lines: /^end: /,
    why: 'The stressor executes privileged instructions (LGDT, LIDT, HLT, MOV to control registers, ...) and counts the signals that they bring in ring 3. In ring 0 they do what they say, to the machine.',
  },
];
