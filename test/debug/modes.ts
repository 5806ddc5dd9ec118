// SPDX-License-Identifier: MIT

/** One way to boot the kernel with the debugging options. */
export interface Mode {
  readonly name: string;
  /** For the note. */
  readonly what: string;
  readonly kernelArgs: readonly string[];
  /** What is wrong in the words of traced.c: a tracer that sees nothing would test nothing. */
  readonly missing: (lines: readonly string[]) => string[];
  /** What the kernel says of itself, and would without ring 0. */
  readonly known?: { readonly pattern: RegExp; readonly why: string };
}

/** The buffer of each processor: what traced.c has to read. */
const BUFFER = 'trace_buf_size=512k';

/**
 * Probes, as kprobe_event= takes them (Documentation/trace/kprobetrace.rst). The
 * functions named __x64_sys_ are those that the code of the jump calls itself.
 */
const PROBES = {
  // On the call that ftrace has put at the function's begin: no breakpoint.
  ring0_open: 'p:ring0_open,do_sys_openat2',
  ring0_read: 'p:ring0_read,__x64_sys_read',
  // Behind that call, five bytes later: a breakpoint, in a call by the jump and in a page fault of ring 0 code.
  ring0_write: 'p:ring0_write,__x64_sys_write+5',
  ring0_fault: 'p:ring0_fault,handle_mm_fault+5',
  // In place of the return address, which leads back into the code of the jump.
  ring0_wait: 'r:ring0_wait,__x64_sys_wait4',
  ring0_close: 'r:ring0_close,__x64_sys_close',
} as const;

const traces =
  (tracer: string, jump: boolean, probes: readonly string[] = []) =>
  (lines: readonly string[]): string[] => {
    const hits = new Map(lines.flatMap((line) => (line.startsWith('probe ') ? [[line.split(' ')[1] ?? '', Number(line.split(' ')[2])] as const] : [])));
    const entries = Number(lines.find((line) => line.startsWith('entries '))?.split(' ')[1]);
    return [
      ...(lines.includes(`tracer ${tracer}`) ? [] : [`the tracer is not ${tracer}`]),
      ...(entries > 0 || (tracer === 'nop' && probes.length === 0) ? [] : ['nothing was traced']),
      ...(lines.includes('jump yes') || !jump ? [] : ['no call by the jump was traced']),
      ...probes.filter((name) => !((hits.get(name) ?? 0) > 0)).map((name) => `the probe ${name} was never hit`),
    ];
  };

export const MODES: readonly Mode[] = [
  {
    name: 'plain',
    what: 'no tracing; each entry of a page table is accounted for (`page_table_check`)',
    kernelArgs: ['page_table_check=on'],
    missing: traces('nop', false),
  },
  { name: 'function', what: 'the function tracer, on all functions', kernelArgs: ['ftrace=function', BUFFER], missing: traces('function', true) },
  {
    name: 'graph',
    what: 'the function graph tracer, which replaces return addresses, on all functions',
    kernelArgs: ['ftrace=function_graph', BUFFER],
    missing: traces('function_graph', false),
    known: {
      pattern: /stack going in the wrong direction\? at return_to_handler\+/,
      why: "Linux's own: between the call of .Ldo_rop and the instruction behind it, return_to_handler() (arch/x86/kernel/ftrace_64.S) has a frame that ORC describes with no size. QEMU takes interrupts behind calls, so it is hit there.",
    },
  },
  {
    name: 'probes',
    what: `kprobes and kretprobes: ${Object.values(PROBES)
      .map((probe) => `\`${probe}\``)
      .join(', ')}`,
    // Left to itself, the kernel makes a jump of a breakpoint.
    kernelArgs: [`kprobe_event=${Object.values(PROBES).join(';')}`, 'sysctl.debug.kprobes-optimization=0', BUFFER],
    missing: traces('nop', true, Object.keys(PROBES)),
  },
];

export interface Exemption {
  readonly program: string;
  /** Of one mode only; of all by default. */
  readonly mode?: string;
  readonly why: string;
}

/** Programs that cannot pass here. */
export const WITHOUT: readonly Exemption[] = [
  {
    program: 'syscalls-all-regs',
    mode: 'graph',
    why: 'its timer of 0.3 ms fires faster than this kernel, emulated and traced, delivers the signal (1.3 s without a tracer, 65 s with the function tracer, no end with this one)',
  },
];
