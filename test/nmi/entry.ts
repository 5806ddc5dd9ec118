// SPDX-License-Identifier: MIT
/**
 * An NMI, or a #MC, at each instruction of the kernel's entry and exit code that
 * a load reaches, with a page fault inside the NMI's handler: what the handler's
 * own IRET and the fault's frame leave behind must harm nobody, and the load
 * looks at all its registers and memory.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { findKernel } from '../../src/kernels/kernel.js';
import { exec } from '../../src/lib/exec.js';
import { silentLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { type Guest, type GuestOptions, startGuest } from '../boot/harness.js';
import { Gdb, type Registers } from './gdb.js';

/** What is tried, by the symbols of vmlinux; it lasts as long as the symbol's size says. */
export const ENTRY_CODE = [
  'ukl_syscall',
  'ukl_return_from_syscall',
  'ukl_restore_regs_and_return_to_usermode',
  'ukl_error_entry',
  'ukl_int3_entry',
  'ukl_page_fault_entry',
  'ukl_switch_stack',
  'entry_SYSCALL_64',
  'asm_exc_page_fault',
  'asm_exc_general_protection',
  'asm_exc_invalid_op',
  'asm_exc_int3',
  'asm_exc_debug',
  'asm_sysvec_apic_timer_interrupt',
  'asm_common_interrupt',
  'error_entry',
  'error_return',
  'sync_regs',
  'ukl_leave_ist',
  'fixup_bad_iret',
  'paranoid_entry',
  'paranoid_exit',
  'ret_from_fork_asm',
  // With it: swapgs_restore_regs_and_return_to_usermode, restore_regs_and_return_to_kernel, native_irq_return_iret.
  'common_interrupt_return',
] as const;

/** What hits the machine, and the C function of the kernel that it gets to. */
export interface Blow {
  /** For QEMU's monitor. */
  readonly command: string;
  readonly handler: string;
  /** Whether the handler is to take a page fault: that of NMI may, and keeps CR2. */
  readonly fault: boolean;
}
export const NMI: Blow = { command: 'nmi', handler: 'default_do_nmi', fault: true };

/**
 * A #MC that the kernel logs, as the software may act on it or not: an error
 * that scrubbing has found (IA32_MCi_STATUS: VAL, UC, EN, S, MCACOD 0xc0), with
 * a RIP to go on at (IA32_MCG_STATUS: RIPV, MCIP). AMD's have no such errors.
 */
export const MACHINE_CHECK: Blow = { command: 'mce 0 9 0xb1000000000000c0 5 0 0', handler: 'do_machine_check', fault: false };
export const MACHINE_CHECK_CPU = 'Skylake-Server';

export interface Instruction {
  readonly address: bigint;
  readonly symbol: string;
  readonly text: string;
}

export interface Report {
  /** Survived the blow, and the fault inside. */
  readonly struck: readonly Instruction[];
  /** Of those, where the handler found no page tables of a program to take the page fault with. */
  readonly faultless: readonly Instruction[];
  /** The load did not get there, fillers left out. */
  readonly missed: readonly Instruction[];
}

/** A code is given up after so many rounds of the load without an instruction that is new. */
const IDLE_ROUNDS = 3;
/** No program has anything mapped there (vm.mmap_min_addr). */
const NOT_MAPPED = 0x1000n;
const FILLER = /^(nop|xchg +%ax,%ax|data16|cs nop|int3|ud2)/;

interface Symbols {
  at(name: string): bigint;
  /** Up to the next symbol, if it has no size of its own. */
  size(name: string): number;
}

async function readSymbols(elf: string): Promise<Symbols> {
  const found = new Map<string, { readonly address: bigint; readonly size: bigint | undefined }>();
  for (const [, address, size, name = ''] of (await exec('nm', ['-S', elf])).matchAll(/^([0-9a-f]{16}) (?:([0-9a-f]{16}) )?\w (\S+)$/gm)) {
    found.set(name, { address: BigInt(`0x${address}`), size: size === undefined ? undefined : BigInt(`0x${size}`) });
  }
  const find = (name: string): { readonly address: bigint; readonly size: bigint | undefined } => {
    const symbol = found.get(name);
    if (symbol === undefined) throw new Error(`${elf} has no ${name}`);
    return symbol;
  };
  return {
    at: (name) => find(name).address,
    size(name) {
      const { address, size } = find(name);
      if (size !== undefined) return Number(size);
      const next = [...found.values()]
        .map((other) => other.address)
        .filter((other) => other > address)
        .reduce((a, b) => (a < b ? a : b));
      return Number(next - address);
    },
  };
}

/** The code as it runs: the kernel patches itself when it boots. */
async function disassemble(gdb: Gdb, symbols: Symbols, symbol: string, directory: string): Promise<Instruction[]> {
  const file = join(directory, symbol);
  await writeFile(file, await gdb.read(symbols.at(symbol), symbols.size(symbol)));
  const text = await exec('objdump', [
    '-D',
    '-b',
    'binary',
    '-m',
    'i386:x86-64',
    `--adjust-vma=0x${symbols.at(symbol).toString(16)}`,
    '--no-show-raw-insn',
    file,
  ]);
  return [...text.matchAll(/^\s*([0-9a-f]+):\s+(\S.*?)\s*$/gm)].map(([, address, code = '']) => ({ address: BigInt(`0x${address}`), symbol, text: code }));
}

/** Where regs->ip is in struct pt_regs (asm/ptrace.h). */
const PT_REGS_IP = 128n;

/**
 * Deals the blow where the machine is stopped, takes it through a page fault,
 * and follows it back to where it was. Returns whether there was such a fault.
 */
async function strike(gdb: Gdb, kernel: Symbols, blow: Blow): Promise<boolean> {
  const handler = kernel.at(blow.handler);
  const before = await gdb.registers();
  await gdb.setBreakpoints(handler);
  await gdb.monitor(blow.command);
  const arrived = await gdb.go();
  if (arrived !== handler) throw new Error(`stopped at ${arrived.toString(16)}, before ${blow.handler}()`);
  const { rsp, rdi } = await gdb.registers();
  const interrupted = (await gdb.read(rdi + PT_REGS_IP, 8)).readBigUInt64LE();
  if (interrupted !== before.rip) throw new Error(`${blow.handler}() was only called at ${interrupted.toString(16)}`);
  const fault = blow.fault && (await takePageFault(gdb, kernel, { rip: handler, rsp, rdi }));
  await gdb.clearBreakpoints(handler);
  // The rest of the handler goes through the same code: none of it counts as the load's.
  await gdb.setBreakpoints(before.rip);
  for (;;) {
    await gdb.go();
    const back = (await gdb.registers()).rsp === before.rsp;
    await gdb.clearBreakpoints(before.rip);
    if (back) return fault;
    await gdb.step();
    await gdb.setBreakpoints(before.rip);
  }
}

/** At the beginning of a handler, as if it had called a function to read what a program has at an address. */
async function takePageFault(gdb: Gdb, kernel: Symbols, handler: Pick<Registers, 'rip' | 'rsp' | 'rdi'>): Promise<boolean> {
  const frame = (handler.rsp & ~15n) - 0x308n;
  const returnAddress = Buffer.alloc(8);
  returnAddress.writeBigUInt64LE(handler.rip);
  await gdb.write(frame, returnAddress);
  await gdb.setRegisters({ rip: kernel.at('copy_from_user_nmi'), rsp: frame, rdi: frame + 0x100n, rsi: NOT_MAPPED, rdx: 8n });
  const returned = await gdb.go();
  const after = await gdb.registers();
  if (returned !== handler.rip || after.rsp !== frame + 8n || after.rax !== 8n) {
    throw new Error(
      `the page fault in the handler led to ${returned.toString(16)} with ${after.rax} bytes left, RSP ${(after.rsp - frame - 8n).toString(16)} off`,
    );
  }
  const cr2 = BigInt(`0x${/\bCR2=([0-9a-f]+)/.exec(await gdb.monitor('info registers'))?.[1] ?? '0'}`);
  // Of what a caller may lose nothing is kept but the argument.
  await gdb.setRegisters(handler);
  return cr2 === NOT_MAPPED;
}

async function attack(gdb: Gdb, kernel: Symbols, load: Symbols, blow: Blow, code: readonly string[], directory: string): Promise<Report> {
  const roundDone = load.at('round_done');
  const struck: Instruction[] = [];
  const missed: Instruction[] = [];
  const faultless: Instruction[] = [];
  await gdb.setBreakpoints(roundDone);
  // The load runs, so that the kernel has patched itself.
  await gdb.go();
  for (const symbol of code) {
    const pending = new Map((await disassemble(gdb, kernel, symbol, directory)).map((one) => [one.address, one]));
    await gdb.setBreakpoints(...pending.keys());
    for (let idle = 0; idle <= IDLE_ROUNDS && pending.size > 0; ) {
      const rip = await gdb.go();
      if (rip === roundDone) {
        idle++;
        await gdb.clearBreakpoints(roundDone);
        await gdb.step();
        await gdb.setBreakpoints(roundDone);
        continue;
      }
      const instruction = pending.get(rip);
      if (instruction === undefined) throw new Error(`stopped at ${rip.toString(16)}`);
      idle = 0;
      // The handler and its fault go through the same code.
      await gdb.clearBreakpoints(roundDone, ...pending.keys());
      try {
        if (!(await strike(gdb, kernel, blow)) && blow.fault) faultless.push(instruction);
      } catch (error) {
        throw new Error(`${blow.command} at ${rip.toString(16)} <${symbol}>: ${instruction.text}`, { cause: error });
      }
      pending.delete(rip);
      struck.push(instruction);
      await gdb.setBreakpoints(roundDone, ...pending.keys());
    }
    await gdb.clearBreakpoints(...pending.keys());
    missed.push(...[...pending.values()].filter(({ text }) => !FILLER.test(text)));
  }
  await gdb.clearBreakpoints(roundDone);
  return { struck, faultless, missed };
}

/** Compiles the load. */
async function buildLoad(directory: string): Promise<string> {
  const program = join(directory, 'entry-load');
  await exec('gcc', ['-O2', '-Wall', '-Wextra', '-static', '-o', program, join(projectRoot, 'test/fixtures/entry-load.c')]);
  return program;
}

async function startStopped(program: string, options: GuestOptions): Promise<{ readonly guest: Guest; readonly gdb: Gdb }> {
  let script = '';
  const guest = await startGuest(program, {
    ring: 0,
    accel: 'tcg',
    gdb: true,
    // Time is what the guest makes of it, not what a busy host does.
    icount: true,
    cpus: 1,
    args: ['/ring3'],
    files: [`${program}:/ring3`],
    ...options,
    // The watchdog would take a machine that is stopped for one that hangs.
    kernelArgs: ['nowatchdog', ...(options.kernelArgs ?? [])],
    log: {
      ...silentLog,
      info(text) {
        script = /^waiting for gdb: gdb -x (\S+)$/.exec(text)?.[1] ?? script;
      },
    },
  });
  try {
    const socket = /^target remote (\S+)$/m.exec(await readFile(script, 'utf8'))?.[1];
    if (socket === undefined) throw new Error(`${script} has no socket`);
    for (;;) {
      // QEMU makes the socket when it starts.
      const gdb = await Gdb.connect(socket).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT' && error.code !== 'ECONNREFUSED') throw error;
        return undefined;
      });
      if (gdb !== undefined) return { guest, gdb };
      const ended = await Promise.race([guest.result, setTimeout(20, undefined)]);
      if (ended !== undefined) throw new Error(`the guest ended with ${JSON.stringify(ended.end)}`);
    }
  } catch (error) {
    guest.kill();
    throw error;
  }
}

/**
 * Runs the load under attack, to its end.
 *
 * @throws Error naming the instruction that the guest did not survive, with the kernel's last words
 */
export async function strikeEntryCode(options: GuestOptions = {}, blow: Blow = NMI, code: readonly string[] = ENTRY_CODE): Promise<Report> {
  const directory = await mkdtemp(join(tmpdir(), 'ukl-strike-'));
  try {
    const program = await buildLoad(directory);
    const { guest, gdb } = await startStopped(program, options);
    try {
      const vmlinux = await findKernel(guest.plan.image.manifest.kernel.sha256);
      if (vmlinux === undefined) throw new Error('the kernel is not in the store');
      const load = await readSymbols(program);
      const report = await attack(gdb, await readSymbols(vmlinux), load, blow, code, directory);
      await gdb.write(load.at('finish'), Buffer.from([1, 0, 0, 0]));
      await gdb.detach();
      const { end, kernelLog } = await guest.result;
      if (end.kind !== 'exit' || end.status !== 0) throw new Error(`the load ended with ${JSON.stringify(end)}\n${guest.stdout.text()}${kernelLog.join('\n')}`);
      return report;
    } catch (error) {
      guest.kill();
      const { kernelLog } = await guest.result;
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${guest.stdout.text()}${kernelLog.join('\n')}`, { cause: error });
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const where = ({ address, symbol, text }: Instruction): string => `${address.toString(16)} <${symbol}> ${text}`;

/** A line for each code, and the instructions that the load did not reach. */
export function formatReport({ struck, faultless, missed }: Report): string {
  const count = (list: readonly Instruction[], name: string): number => list.filter(({ symbol }) => symbol === name).length;
  const names = [...new Set([...struck, ...missed].map(({ symbol }) => symbol))];
  return [
    ...names.map((name) => `${name}: ${count(struck, name)} struck, ${count(missed, name)} not reached`),
    ...missed.map((one) => `  not reached: ${where(one)}`),
    ...faultless.map((one) => `  no page fault in the handler: ${where(one)}`),
    `${struck.length} instructions struck (${faultless.length} without a page fault in the handler), ${missed.length} not reached`,
  ].join('\n');
}
