// SPDX-License-Identifier: MIT
import { constants } from 'node:os';
import { syscallNames } from '../elf/calls.js';
import { readElf } from '../elf/elf.js';
import { exec } from '../lib/exec.js';
import type { Fault, RunEnd } from '../model/index.js';

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

/** How the program ended, as init says on the console where it has no other way (guest/init/main.c). */
export function findEnd(serial: string): RunEnd | undefined {
  // The program may print the same: what was said last is init's, which nobody outlives.
  const [, how, number] = [...serial.matchAll(/^init: (exit|signal) (\d+)\r?$/gm)].at(-1) ?? [];
  if (how === undefined) return undefined;
  return how === 'exit' ? { kind: 'exit', status: Number(number) } : { kind: 'signal', signal: Number(number) };
}

/** What the C library asks every kernel for and does without. */
const OPTIONAL: readonly string[] = ['rseq'];

/** The system calls that failed because the kernel was built without them: report_enosys= in the series. */
export async function findMissingCalls(serial: string): Promise<string[]> {
  const numbers = new Set([...serial.matchAll(/\[\d+\]: no system call (\d+)/g)].map(([, number]) => Number(number)));
  if (numbers.size === 0) return [];
  const names = await syscallNames();
  return [...numbers].map((number) => names.get(number) ?? `number ${number}`).filter((name) => !OPTIONAL.includes(name));
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

type SetupFailure = Extract<RunEnd, { kind: 'guest-setup' }>;

/** What a file system of another machine's lacks; undefined if that is not seen. */
function remoteHint(errno: number): string | undefined {
  const { ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ENOENT, EACCES, EPERM, EINVAL } = constants.errno;
  const silent: readonly number[] = [ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH];
  if (silent.includes(errno)) return 'no server answered for 30 seconds: its address, its port (the option port=), and the network of the guest (--net)';
  if (errno === ENOENT) return 'the server has nothing of that name';
  if (errno === EACCES || errno === EPERM) return 'the server does not let the guest in: its list of clients, or user= and pass= of CIFS';
  if (errno === EINVAL) return 'an option that the kernel does not take: ukl run --verbose';
  return undefined;
}

/** What to do about it. `what` is a path, or one of init's own words (guest/init). */
function setupHint(what: string, errno: number): string {
  const { ENOENT, ENOTDIR, EACCES, ENOEXEC, E2BIG, ENODEV } = constants.errno;
  if (what === 'exec') {
    if (errno === ENOENT || errno === ENOTDIR) return 'the program, its interpreter or its working directory is not in the image: ukl inspect';
    if (errno === EACCES) return 'the program cannot be executed: chmod +x, and build again';
    if (errno === ENOEXEC) return 'a script is run by its interpreter: ukl run /bin/bash --file SCRIPT -- SCRIPT';
  }
  if (what.startsWith('UKL_TRANSPORT=')) return "the image's init does not know this way to the host: ukl build, to make the image again";
  if (errno === E2BIG) return 'fewer or shorter arguments and variables';
  if (what.startsWith('/sbin/mkfs.')) return 'what it says is above. A disk for xfs has at least 300 MiB, for btrfs 110: a larger one';
  if (/^(LABEL|UUID)=/.test(what) && errno === ENODEV) return 'no disk of the machine has that: --attach FILE';
  if (/^\/\/|:\//.test(what)) return remoteHint(errno) ?? 'ukl run --verbose, for what the kernel says';
  if (what.startsWith('/') && errno === ENODEV) return `the machine lacks what belongs there: --disk FILE:${what}`;
  return 'ukl run --verbose, for what the kernel says';
}

/** A failure as init words it: "WHAT: TEXT (errno N)". */
export function setupFailure(text: string): SetupFailure {
  const number = /\(errno (\d{1,4})\)$/.exec(text.slice(-16))?.[1] ?? '';
  const body = number === '' ? text : text.slice(0, text.lastIndexOf(' (errno '));
  // "/a: b (errno 1): TEXT": what is before the last colon is what could not be done.
  const colon = number === '' ? -1 : body.lastIndexOf(': ');
  const what = colon < 0 ? '' : body.slice(0, colon);
  const reason = colon < 0 ? text : body.slice(colon + 2);
  const errno = Number(number);
  const name = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0];
  const message = `${what === 'exec' ? 'the program could not be started' : what}: ${reason}${name === undefined ? '' : ` (${name})`}`;
  return { kind: 'guest-setup', message, hint: setupHint(what, errno) };
}

/** What init could only say on the console: there is no other way to the tool yet. */
export function findSetupFailure(serial: string): SetupFailure | undefined {
  for (const line of serial.split('\n')) {
    const text = line.trimEnd();
    if (text.startsWith('init: ') && /: .{0,200}\(errno \d{1,4}\)$/.test(text.slice(-240))) return setupFailure(text.slice('init: '.length));
  }
  return undefined;
}

/** Whether the machine was reset or turned off by its kernel, and not by a triple fault. */
export function reportsReboot(serial: string): boolean {
  return /\breboot: (?:Restarting system|Power down|machine restart)/.test(serial);
}

export function reportsOutOfMemory(log: readonly string[]): boolean {
  return log.some((line) => /Out of memory: Killed process|Out of memory and no killable/.test(line));
}
