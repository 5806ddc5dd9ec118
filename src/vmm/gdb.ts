// SPDX-License-Identifier: MIT
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readElf } from '../app/elf.js';
import { exec } from '../lib/exec.js';
import { UklError } from '../lib/errors.js';

/** Where the kernel puts a PIE when it does not choose at random (ELF_ET_DYN_BASE). */
const PIE_BASE = '0x555555554000';

/** Offsets in struct pt_regs (arch/x86/include/asm/ptrace.h) by DWARF register number; 16 is the return address. */
const PT_REGS: readonly (readonly [register: number, offset: number])[] = [
  [15, 0], [14, 8], [13, 16], [12, 24], [6, 32], [3, 40], [11, 48], [10, 56], [9, 64], [8, 72], [0, 80], [2, 88], [1, 96], [4, 104], [5, 112], [16, 128],
];
const RSP_OFFSET = 152;
/** rbx, rbp, r12 to r15: ukl_syscall() leaves them where they are. */
const PRESERVED = new Set([3, 6, 12, 13, 14, 15]);

/** DW_OP_breg7 (rsp) with an offset, signed LEB128. */
const atRsp = (offset: number): number[] => (offset < 64 ? [0x77, offset] : [0x77, (offset & 0x7f) | 0x80, offset >> 7]);

const escape = (bytes: readonly number[]): string => `.cfi_escape ${bytes.join(', ')}`;

/** Rules for code with pt_regs at RSP plus `shift`: DW_CFA_def_cfa_expression and DW_CFA_expression. */
function inPtRegs(isCall: boolean, shift = 0): string[] {
  const cfa = [...atRsp(RSP_OFFSET + shift), 0x06];
  return [
    escape([0x0f, cfa.length, ...cfa]),
    ...PT_REGS.filter(([register]) => !(isCall && PRESERVED.has(register))).map(([register, offset]) => {
      const where = atRsp(offset + shift);
      return escape([0x10, register, where.length, ...where]);
    }),
  ];
}

/** Offsets in ukl_syscall() at which the place of the caller's RSP and RIP changes. */
async function callOffsets(vmlinux: string): Promise<{ readonly start: bigint; readonly stack: number; readonly stored: number; readonly left: number; readonly gone: number }> {
  const text = await exec('objdump', ['-d', '--no-show-raw-insn', '--disassemble=ukl_syscall', vmlinux]);
  const instructions = [...text.matchAll(/^\s*([0-9a-f]+):\s+(\S.*)$/gm)].map((match) => ({ at: BigInt(`0x${match[1]}`), text: match[2] ?? '' }));
  const start = instructions[0]?.at;
  const behind = (pattern: RegExp): number => {
    const index = instructions.findIndex((one) => pattern.test(one.text));
    const next = instructions[index + 1];
    if (index < 0 || next === undefined || start === undefined) throw new UklError('UKL_BUG', `ukl_syscall() has no ${pattern.source}`);
    return Number(next.at - start);
  };
  return {
    start: start ?? 0n,
    stack: behind(/^mov\s+%gs:.*,%rsp/),
    stored: behind(/^sti/),
    left: behind(/^mov\s+0x98\(%rsp\),%rsp/),
    gone: behind(/^jmp\s+\*%rcx/),
  };
}

async function symbolAddress(vmlinux: string, name: string): Promise<bigint> {
  const match = new RegExp(`^([0-9a-f]+) \\w ${name}$`, 'm').exec(await exec('nm', [vmlinux]));
  if (!match) throw new UklError('UKL_BUG', `vmlinux has no ${name}`);
  return BigInt(`0x${match[1]}`);
}

/**
 * Unwind tables for the kernel's entry code, which has none: what makes a
 * backtrace cross from the kernel into the program. The frames are marked as a
 * signal's, because the stack changes.
 */
async function entryTables(vmlinux: string): Promise<{ readonly source: string; readonly address: bigint }> {
  const start = await symbolAddress(vmlinux, '__entry_text_start');
  const end = await symbolAddress(vmlinux, '__entry_text_end');
  const call = await callOffsets(vmlinux);
  const at = Number(call.start - start);
  const full = Number((await symbolAddress(vmlinux, 'ukl_full_regs')) - call.start);
  const onProgramStack = ['.cfi_def_cfa rsp, 0', '.cfi_register rip, rcx'];
  const source = [
    '.cfi_sections .debug_frame',
    '.text',
    '.cfi_startproc simple', '.cfi_signal_frame', ...inPtRegs(false), `.skip ${at}`, '.cfi_endproc',
    '.cfi_startproc simple', '.cfi_signal_frame', ...onProgramStack, `.skip ${call.stack}`,
    '.cfi_def_cfa r11, 0', `.skip ${call.stored - call.stack}`,
    ...inPtRegs(true), `.skip ${call.left - call.stored}`,
    ...onProgramStack, ...PT_REGS.filter(([register]) => register !== 16 && !PRESERVED.has(register)).map(([register]) => `.cfi_same_value ${register}`), `.skip ${call.gone - call.left}`,
    ...inPtRegs(true), `.skip ${full - call.gone}`,
    // Entered by a call, it pops the return address first: popq %r11, two bytes.
    ...inPtRegs(true, 8), '.skip 2', ...inPtRegs(true), `.skip ${Number(end - call.start) - full - 2}`, '.cfi_endproc',
    '.section .note.GNU-stack, "", @progbits', '',
  ].join('\n');
  return { source: source.replaceAll(/\b(rsp|rip|rcx|r11)\b/g, (name) => String({ rsp: 7, rip: 16, rcx: 2, r11: 11 }[name])), address: start };
}

/**
 * Writes what gdb is told before the user is asked: the symbols of the kernel
 * and of the program, how to get from one to the other, and where the guest
 * is.
 *
 * @returns the path of a gdb script in `directory`
 */
export async function writeGdbScript(directory: string, options: { readonly vmlinux: string; readonly program: string; readonly socket: string }): Promise<string> {
  const { vmlinux, program, socket } = options;
  const base = (await readElf(program)).type === 'shared' ? ` -o ${PIE_BASE}` : '';
  const { source, address } = await entryTables(vmlinux);
  const tables = join(directory, 'entry.o');
  await exec('gcc', ['-c', '-x', 'assembler', '-o', tables, '-'], { input: source });
  const script = join(directory, 'gdb');
  await writeFile(
    script,
    `set confirm off
file ${vmlinux}
add-symbol-file ${tables} -s .text 0x${address.toString(16)}
add-symbol-file ${program}${base}
target remote ${socket}
`,
  );
  return script;
}
