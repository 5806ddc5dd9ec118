// SPDX-License-Identifier: MIT
/** Every exit status of the tool, in one place. docs/exit-codes.md is its table for users, and a test compares them. */
import { constants } from 'node:os';
import type { ErrorCode } from '../lib/errors.js';
import type { RunEnd } from './run.js';

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  timeout: 124,
  /** A verb that runs a guest failed before the guest's program ran (docker's convention). */
  beforeRun: 125,
  /** The guest ended without a status (virtme-ng's and Solo5's convention). */
  lost: 255,
} as const;

/** Verbs whose exit status is the program's own, so that the tool's failures need another. */
const RUNNING: readonly string[] = ['run', 'dev', 'exec'];

/** 128 and the number of a signal: both host and guest are Linux on x86-64. */
export function statusOfSignal(name: string): number {
  return 128 + (constants.signals[name as NodeJS.Signals] ?? 0);
}

/** The exit status for a failure of a verb. */
export function statusOfError(verb: string, code: ErrorCode): number {
  if (code === 'UKL_USAGE' || code === 'UKL_CONFIG') return EXIT.usage;
  return RUNNING.includes(verb) ? EXIT.beforeRun : EXIT.failed;
}

/** The exit status for each way a run can end. */
export function statusOfEnd(end: RunEnd): number {
  switch (end.kind) {
    case 'exit':
      return end.status;
    case 'signal':
      return 128 + end.signal;
    case 'timeout':
      return EXIT.timeout;
    case 'interrupted':
      return statusOfSignal(end.signal);
    case 'guest-setup':
      return EXIT.beforeRun;
    case 'panic':
    case 'triple-fault':
    case 'reboot':
    case 'vmm':
      return EXIT.lost;
  }
}
