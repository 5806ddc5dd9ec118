// SPDX-License-Identifier: MIT
import { syscallNames } from '../elf/calls.js';
import type { Section } from '../elf/sections.js';
import { exec } from '../lib/exec.js';

/** What of a kernel a program can get at. */
export interface Surface {
  /** Of the kernel's code, in bytes, without what is freed after the start. */
  readonly textBytes: number;
  /** System calls of x86-64 that are in the kernel, by the names of their functions. */
  readonly calls: number;
  /** Those that it was built without. */
  readonly missing: readonly string[];
}

/** Reads a vmlinux with symbols, of which the sections are known: a call that was left out is a weak symbol (kernel/sys_ni.c). */
export async function surfaceOf(vmlinux: string, sections: readonly Section[]): Promise<Surface> {
  const [symbols, names] = await Promise.all([exec('sh', ['-c', `nm "$0" | grep ' __x64_sys_'`, vmlinux]), syscallNames()]);
  const known = new Set(names.values());
  const found = [...symbols.matchAll(/ ([TW]) __x64_sys_(\w+)$/gm)].map(([, kind, name = '']) => ({ kind, name }));
  return {
    textBytes: sections.find(({ name }) => name === '.text')?.bytes ?? 0,
    calls: found.filter(({ kind, name }) => kind === 'T' && name !== 'ni_syscall').length,
    missing: found
      .filter(({ kind, name }) => kind === 'W' && known.has(name))
      .map(({ name }) => name)
      .sort(),
  };
}
