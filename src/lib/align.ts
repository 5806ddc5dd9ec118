// SPDX-License-Identifier: MIT

/** Of memory, in bytes. */
export const PAGE = 4096;

/** The next multiple of `to`, or `n` itself. */
export const align = (n: number, to: number): number => Math.ceil(n / to) * to;
