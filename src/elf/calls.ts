// SPDX-License-Identifier: MIT
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { exec } from '../lib/exec.js';

/** The system calls in an ELF file, from its disassembly. */
export interface CallSites {
  /** Sites that go through the entry: calls in ring 0. */
  readonly calls: number;
  /** Functions with a SYSCALL instruction that nothing jumps around. */
  readonly raw: readonly string[];
  /** Names of the system calls whose number is in sight of the site. */
  readonly names: readonly string[];
  /** Sites whose number comes from elsewhere, as in syscall(2). */
  readonly unknown: number;
}

/** The host's names of system calls, by number. */
export async function syscallNames(): Promise<ReadonlyMap<number, string>> {
  const header = await readFile('/usr/include/x86_64-linux-gnu/asm/unistd_64.h', 'utf8');
  return new Map([...header.matchAll(/^#define __NR_(\w+) (\d+)$/gm)].map(([, name = '', number]) => [Number(number), name]));
}

/** Finds the sites in the words of objdump. Exported for its test. */
export function parseSites(listing: string, names: ReadonlyMap<number, string>): CallSites {
  const raw: string[] = [];
  const seen = new Set<string>();
  let calls = 0;
  let unknown = 0;
  let where = '?';
  let number: number | undefined;
  let before: readonly [string, string] = ['', ''];
  for (const line of listing.split('\n')) {
    const label = /^[0-9a-f]+ <(.+)>:$/.exec(line)?.[1];
    if (label !== undefined) {
      where = label;
      number = undefined;
      continue;
    }
    const text = /^\s*[0-9a-f]+:\s+(.*?)\s*(?:#.*)?$/.exec(line)?.[1] ?? '';
    if (text === 'syscall') {
      if (/^lea .*\(%rip\),%rcx$/.test(before[0]) && /^jmp +\*.*\(%rip\)$/.test(before[1])) calls++;
      else raw.push(where);
      const name = number === undefined ? undefined : names.get(number);
      if (name === undefined) unknown++;
      else seen.add(name);
    } else if (/^mov +\$0x[0-9a-f]+,%[er]ax$/.test(text)) number = Number(/\$(0x[0-9a-f]+)/.exec(text)?.[1]);
    else if (/^xor +%eax,%eax$/.test(text)) number = 0;
    else if (/,%[er]ax$/.test(text)) number = undefined;
    before = [before[1], text];
  }
  return { calls, raw, names: [...seen].sort(), unknown };
}

/** The system call sites of an ELF file. Throws UKL_COMMAND if objdump cannot read it. */
export async function callSites(path: string): Promise<CallSites> {
  // Only the lines that matter: a C library's listing has tens of megabytes.
  const script = `objdump -d --no-show-raw-insn "$0" | grep -E '>:$|syscall *$|,%[er]ax *$|%eax,%eax|,%rcx|jmp +\\*'`;
  return parseSites(await exec('sh', ['-c', script, path]), await syscallNames());
}

/** The C library can make every call: what a program makes of it says which ones it does. */
const LIBC = /^(ld-linux-x86-64|lib(c|m|pthread|dl|rt|resolv|anl|util))\.so\b/;

/**
 * Names of the system calls that an ELF file makes itself, and of the
 * functions that it takes from others. Nothing for the C library.
 */
export async function callNames(path: string): Promise<readonly string[]> {
  if (LIBC.test(basename(path))) return [];
  const [{ names }, symbols] = await Promise.all([callSites(path), exec('nm', ['-D', '--undefined-only', '--format=posix', path])]);
  return [...names, ...[...symbols.matchAll(/^([\w.]+)/gm)].map(([, name = '']) => name)];
}
