// SPDX-License-Identifier: MIT
/** What a guest uses of this host. */
import { readFile } from 'node:fs/promises';
import type { RunningVm } from '../run/launch.js';

export interface Usage {
  /** Milliseconds of the host's processors since the machine's start. */
  readonly cpuMs: number;
  /** Bytes of the host's memory that the VMM has, and of those what no other process shares. */
  readonly memoryBytes: number;
  readonly privateBytes: number;
  /** Of the guest's interfaces but the loopback, since the machine's start; 0 where init cannot be asked. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly threads: number;
  /** Of the machine's processors for KVM, since the machine's start; undefined in emulation. */
  readonly exits?: number | undefined;
}

/** USER_HZ, which is 100 on every Linux that runs x86-64 (include/asm-generic/param.h). */
const TICK_MS = 10;

/** The columns of /proc/net/dev behind an interface's name: bytes received are the first, bytes sent the ninth. */
function traffic(lines: readonly string[]): { readonly receivedBytes: number; readonly sentBytes: number } {
  let receivedBytes = 0;
  let sentBytes = 0;
  for (const line of lines) {
    const [, name, rest] = /^\s*([^\s:]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined || name === 'lo') continue;
    const columns = rest?.split(/\s+/).map(Number) ?? [];
    receivedBytes += columns[0] ?? 0;
    sentBytes += columns[8] ?? 0;
  }
  return { receivedBytes, sentBytes };
}

const kilobytes = (text: string, ...fields: readonly string[]): number =>
  fields.reduce((sum, field) => sum + Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0), 0) * 1024;

/** Reads /proc of the VMM, and asks the guest's init for its traffic. */
export async function usageOf(vm: RunningVm): Promise<Usage> {
  const directory = `/proc/${vm.pid}`;
  const [stat, memory, lines, exits] = await Promise.all([
    readFile(`${directory}/stat`, 'latin1'),
    readFile(`${directory}/smaps_rollup`, 'latin1'),
    // A guest that stands still does not answer.
    vm.state === 'running' ? vm.inspect('net/dev') : [],
    vm.exits(),
  ]);
  // proc(5): behind the name's parenthesis, utime and stime are fields 14 and 15, num_threads is 20.
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  return {
    cpuMs: ((fields[11] ?? 0) + (fields[12] ?? 0)) * TICK_MS,
    memoryBytes: kilobytes(memory, 'Rss'),
    privateBytes: kilobytes(memory, 'Private_Clean', 'Private_Dirty'),
    ...traffic(lines),
    threads: fields[17] ?? 0,
    exits,
  };
}
