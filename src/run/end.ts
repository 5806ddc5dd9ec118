// SPDX-License-Identifier: MIT
import { constants } from 'node:os';
import type { RunEnd } from '../model/index.js';

function signalName(number: number): string {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? `signal ${number}`;
}

/** What happened, for people; nothing for a program that simply exited. */
export function describeEnd(end: RunEnd): string | undefined {
  switch (end.kind) {
    case 'exit':
      return undefined;
    case 'signal': {
      const fault = end.fault
        ? `: ${end.fault.address ? `address ${end.fault.address}, ` : ''}at ${end.fault.symbol ?? end.fault.ip}`
        : end.outOfMemory
          ? ': the guest ran out of memory (give it more with -M)'
          : '';
      return `the program was killed by ${signalName(end.signal)}${fault}`;
    }
    case 'timeout':
      return `the guest was stopped after --timeout ${end.seconds} s${end.where ? ` (processors were at ${end.where})` : ''}`;
    case 'interrupted':
      return `interrupted by ${end.signal}`;
    case 'panic':
      return `the guest's kernel died: ${end.message}`;
    case 'triple-fault':
      return 'the guest reset itself without a report (a triple fault)';
    case 'reboot':
      return 'the guest was restarted or turned off from within (reboot())';
    case 'guest-setup':
      return `the guest could not be set up: ${end.message}`;
    case 'vmm':
      return end.message;
  }
}
