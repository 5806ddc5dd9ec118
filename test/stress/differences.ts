// SPDX-License-Identifier: MIT
import type { Explanation } from '../batch/compare.js';

/** Stressors that do in ring 0 what ring 3 would be kept from. Anything else that differs fails the command. */
export const EXPLANATIONS: readonly Explanation[] = [];
