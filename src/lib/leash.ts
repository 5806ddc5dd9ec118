// SPDX-License-Identifier: MIT
/** In front of a command: if the tool is killed, however hard, the kernel ends the command (PR_SET_PDEATHSIG). */
export const LEASH = ['setpriv', '--pdeathsig', 'KILL'] as const;
