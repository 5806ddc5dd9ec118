// SPDX-License-Identifier: MIT

/** The tool's own exit statuses; a guest's are passed through (see docs/exit-codes.md). */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  timeout: 124,
  notStarted: 125,
  guestDied: 255,
} as const;
