// SPDX-License-Identifier: MIT

/** How a run ended. `src/model/exit-status.ts` has the exit status for each. */
export type RunEnd =
  | { readonly kind: 'exit'; readonly status: number }
  | { readonly kind: 'signal'; readonly signal: number; readonly fault?: Fault; readonly outOfMemory?: boolean }
  | { readonly kind: 'timeout'; readonly seconds: number; readonly where?: string }
  | { readonly kind: 'interrupted'; readonly signal: string }
  | { readonly kind: 'panic'; readonly message: string }
  | { readonly kind: 'triple-fault' }
  /** A process in the guest called reboot(): there is no status of the program's. */
  | { readonly kind: 'reboot' }
  | { readonly kind: 'guest-setup'; readonly message: string; readonly hint: string }
  | { readonly kind: 'vmm'; readonly message: string };

/** Where a program died, from the kernel's log. */
export interface Fault {
  readonly address?: string;
  readonly ip: string;
  readonly symbol?: string;
  readonly text: string;
}

export interface RunResult {
  readonly end: RunEnd;
  /** The exit status that the command line has for this end. */
  readonly exitCode: number;
  /** Milliseconds since the VMM was started. */
  readonly timings: { readonly startMs?: number; readonly totalMs: number };
  /** The last records of the kernel's log, where they were asked for or sent. */
  readonly kernelLog: readonly string[];
  /** System calls that failed because the kernel was built without them. */
  readonly missingCalls: readonly string[];
  /** The file with the guest's serial console. */
  readonly log: string;
}
