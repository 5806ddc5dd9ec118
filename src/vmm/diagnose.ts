// SPDX-License-Identifier: MIT
import type { Fault } from '../artifacts.js';
import { readElf } from '../app/elf.js';
import { exec } from '../lib/exec.js';

/** The first line of a panic or an oops, as the kernel prints it. */
const PANIC = /Kernel panic - not syncing: (.*)|((?:BUG|Oops|Unable to handle|general protection fault|PANIC|invalid opcode)\b.*)/;

/** The message of a kernel that died, from its serial console. */
export function findPanic(serial: string): string | undefined {
  const lines = serial.split('\n').map((line) => line.replace(/^\[[^\]]*\] ?/, '').trim());
  const panic = lines.map((line) => /Kernel panic - not syncing: (.*)/.exec(line)?.[1]).find((text) => text !== undefined);
  if (panic === undefined) return undefined;
  // The panic itself often only says "Fatal exception": the oops before it tells more.
  const cause = lines.map((line) => PANIC.exec(line)?.[2]).find((text) => text !== undefined);
  return cause !== undefined && !panic.includes(cause) ? `${panic} (${cause})` : panic;
}

/**
 * What the kernel logged about a program's fatal fault:
 *   app[37]: segfault at 8 ip 401825 sp 7ffd... error 6 in app[1825,401000+86000]
 *   traps: app[37] general protection fault ip:401825 sp:... error:0 in app[1825,401000+86000]
 * (show_signal_msg() in arch/x86/mm/fault.c, show_signal() in kernel/traps.c;
 * the first number in brackets is the offset in the file.)
 */
export function findFault(log: readonly string[]): (Fault & { readonly fileOffset?: number; readonly object?: string }) | undefined {
  for (const line of [...log].reverse()) {
    const match = /(?:segfault at ([0-9a-f]+) ip |\bip:)([0-9a-f]+) .*?(?: in ([^[]+)\[([0-9a-f]+),[0-9a-f]+\+[0-9a-f]+\])?(?: likely on .*)?$/.exec(line);
    if (!match?.[2]) continue;
    return {
      ...(match[1] === undefined ? {} : { address: `0x${match[1]}` }),
      ip: `0x${match[2].replace(/^0+(?=.)/, '')}`,
      text: line.trim(),
      ...(match[3] === undefined || match[4] === undefined ? {} : { object: match[3], fileOffset: Number.parseInt(match[4], 16) }),
    };
  }
  return undefined;
}

/** "main at hello.c:12" for an offset in an ELF file, if its symbols tell. */
export async function symbolize(elfPath: string, fileOffset: number): Promise<string | undefined> {
  try {
    const { segments } = await readElf(elfPath);
    const segment = segments.find((one) => fileOffset >= one.offset && fileOffset < one.offset + one.fileSize);
    if (!segment) return undefined;
    const address = segment.address + fileOffset - segment.offset;
    const out = await exec('addr2line', ['-f', '-s', '-e', elfPath, `0x${address.toString(16)}`]);
    const [name = '??', place = '??:0'] = out.trim().split('\n');
    if (name === '??') return undefined;
    return place.startsWith('??') ? name : `${name} at ${place}`;
  } catch {
    return undefined; // symbols are a help, not a need
  }
}

export function sawOutOfMemory(log: readonly string[]): boolean {
  return log.some((line) => /Out of memory: Killed process|Out of memory and no killable/.test(line));
}
