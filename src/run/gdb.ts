// SPDX-License-Identifier: MIT
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readElf } from '../elf/elf.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';

/** Where the kernel puts a PIE when it does not choose at random (ELF_ET_DYN_BASE). */
const PIE_BASE = '0x555555554000';

/** Offsets in struct pt_regs (arch/x86/include/asm/ptrace.h) by DWARF register number; 16 is the return address. */
const PT_REGS: readonly (readonly [register: number, offset: number])[] = [
  [15, 0],
  [14, 8],
  [13, 16],
  [12, 24],
  [6, 32],
  [3, 40],
  [11, 48],
  [10, 56],
  [9, 64],
  [8, 72],
  [0, 80],
  [2, 88],
  [1, 96],
  [4, 104],
  [5, 112],
  [16, 128],
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

/** Where in ukl_syscall(), in bytes from its start, the place of the caller's RSP and RIP changes. */
interface CallOffsets {
  /** RSP is the kernel's: the caller's is in R11. */
  readonly switched: number;
  /** All that is kept is in pt_regs. */
  readonly stored: number;
  /** RSP is the caller's again. */
  readonly restored: number;
  /** The jump back is behind us. */
  readonly left: number;
  /** The same two for a call that is handed to SYSCALL. */
  readonly handed: number;
  readonly gone: number;
}

/** Finds the instructions that make the difference, from `start` to `end`: a kernel's own build decides where they are. */
async function callOffsets(vmlinux: string, start: bigint, end: bigint): Promise<CallOffsets> {
  const text = await exec('objdump', ['-d', '--no-show-raw-insn', `--start-address=0x${start.toString(16)}`, `--stop-address=0x${end.toString(16)}`, vmlinux]);
  const instructions = [...text.matchAll(/^\s*([0-9a-f]+):\s+(\S.*)$/gm)].map(([, at, code = '']) => ({ at: BigInt(`0x${at}`), code }));
  const behind = (pattern: RegExp, time = 0): number => {
    const next = instructions[instructions.flatMap(({ code }, index) => (pattern.test(code) ? [index + 1] : []))[time] ?? -1];
    if (next === undefined) throw new UklError('UKL_BUG', `ukl_syscall() has no ${pattern.source}`);
    return Number(next.at - start);
  };
  const restore = new RegExp(`^mov\\s+0x${RSP_OFFSET.toString(16)}\\(%rsp\\),%rsp`);
  const leave = /^jmp\s+\*%rcx/;
  return {
    switched: behind(/^mov\s+%gs:.*,%rsp/),
    stored: behind(/^popf/),
    restored: behind(restore),
    left: behind(leave),
    handed: behind(restore, 1),
    gone: behind(leave, 1),
  };
}

/** Unwind rules that hold for a number of bytes. */
type Stretch = readonly [bytes: number, rules: readonly string[]];

function frameDescription(stretches: readonly Stretch[]): string[] {
  return ['.cfi_startproc simple', '.cfi_signal_frame', ...stretches.flatMap(([bytes, rules]) => [...rules, `.skip ${bytes}`]), '.cfi_endproc'];
}

/** The rules of ukl_syscall(), which lasts up to `end`. DWARF numbers: rcx 2, rsp 7, r11 11, return address 16. */
function callStretches(at: CallOffsets, full: number, end: number): Stretch[] {
  const programStack = ['.cfi_def_cfa 7, 0', '.cfi_register 16, 2'];
  const kept = PT_REGS.filter(([register]) => register !== 16 && !PRESERVED.has(register)).map(([register]) => `.cfi_same_value ${register}`);
  return [
    [at.switched, programStack],
    [at.stored - at.switched, ['.cfi_def_cfa 11, 0']],
    [at.restored - at.stored, inPtRegs(true)],
    [at.left - at.restored, [...programStack, ...kept]],
    [full - at.left, inPtRegs(true)],
    // ukl_full_regs is entered by a call and pops the return address first: popq %r11, two bytes.
    [2, inPtRegs(true, 8)],
    [at.handed - full - 2, inPtRegs(true)],
    [at.gone - at.handed, [...programStack, ...kept]],
    [end - at.gone, inPtRegs(true)],
  ];
}

/**
 * Unwind tables for the kernel's entry code, which has none: what makes a
 * backtrace cross from the kernel into the program. The frames are marked as a
 * signal's, because the stack changes.
 */
async function entryTables(vmlinux: string): Promise<{ readonly source: string; readonly address: bigint }> {
  const symbols = new Map([...(await exec('nm', [vmlinux])).matchAll(/^([0-9a-f]+) \w (\w+)$/gm)].map(([, at, name = '']) => [name, BigInt(`0x${at}`)]));
  const start = symbols.get('__entry_text_start');
  const end = symbols.get('__entry_text_end');
  if (start === undefined || end === undefined) throw new UklError('UKL_BUG', 'vmlinux has no entry code');
  const call = symbols.get('ukl_syscall');
  const full = symbols.get('ukl_full_regs');
  const descriptions =
    call === undefined || full === undefined // the stock kernel
      ? frameDescription([[Number(end - start), inPtRegs(false)]])
      : [
          ...frameDescription([[Number(call - start), inPtRegs(false)]]),
          ...frameDescription(callStretches(await callOffsets(vmlinux, call, symbols.get('ukl_syscall_end') ?? end), Number(full - call), Number(end - call))),
        ];
  const source = ['.cfi_sections .debug_frame', '.text', ...descriptions, '.section .note.GNU-stack, "", @progbits', ''].join('\n');
  return { source, address: start };
}

/**
 * Writes what gdb is told before the user is asked: the symbols of the kernel
 * and of the program, how to get from one to the other, and where the guest
 * is.
 *
 * @returns the path of a gdb script in `directory`
 */
export async function writeGdbScript(
  directory: string,
  options: { readonly vmlinux: string; readonly program: string; readonly socket: string },
): Promise<string> {
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
