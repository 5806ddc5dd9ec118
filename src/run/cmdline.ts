// SPDX-License-Identifier: MIT
import { readFileSync } from 'node:fs';
import { formatNetwork } from '../devices/nic.js';
import type { Accel, Network, Transport } from '../model/index.js';

/**
 * The host's TSC frequency in kHz. Linux derives loops_per_jiffy from the TSC
 * and prints twice that as bogomips, which makes it the one exact figure that
 * /proc/cpuinfo has (arch/x86/kernel/tsc.c, calibrate_delay.c).
 */
export function hostTscKhz(cpuinfo: string): number | undefined {
  const bogomips = Number(/^bogomips\s*:\s*([\d.]+)/m.exec(cpuinfo)?.[1]);
  return Number.isFinite(bogomips) && bogomips > 0 && /\bconstant_tsc\b/.test(cpuinfo) ? Math.round(bogomips * 500) : undefined;
}

/** With -icount shift=0, QEMU's TSC advances by one an instruction (1 GHz). */
const ICOUNT_KHZ = 1_000_000;

/** QEMU's and KVM's local APIC counts nanoseconds (hw/intc/apic_common.c; KVM_APIC_BUS_CYCLE_NS in arch/x86/kvm/lapic.h). */
const APIC_KHZ = 1_000_000;

export interface CmdlineOptions {
  /** What init speaks to the host over. */
  readonly transport: Transport;
  readonly accel: Accel;
  /** The kernel's whole log on the serial console, not only its last words. */
  readonly verbose: boolean;
  /** The counter counts instructions: a nanosecond each. */
  readonly icount: boolean;
  /** A debugger needs addresses that it knows. */
  readonly gdb: boolean;
  /** A tmpfs is the kernel's own choice. A ramfs takes any part of the memory, and nothing but its end ends it. */
  readonly root: 'tmpfs' | 'ramfs';
  /** Whether the kernel takes the frequency of the local APIC's timer: a tenth of a second of calibration less. */
  readonly knowsTimer: boolean;
  /** What init is told on the command line, where there is no other way. */
  readonly networks: readonly Network[];
  readonly extra: readonly string[];
}

/**
 * What the VMM adds to the image's own words for the kernel. A name without a
 * dot that the kernel does not know becomes a variable of PID 1.
 */
export function kernelCmdline(options: CmdlineOptions): string {
  const words = options.transport === 'virtio-serial' ? [`UKL_TRANSPORT=${options.transport}`] : [];
  if (options.transport === 'console') words.push(`UKL_NETWORK=${options.networks.map(formatNetwork).join(';') || 'none'}`);
  if (options.knowsTimer) words.push(`lapic_timer_khz=${APIC_KHZ}`);
  if (options.gdb) words.push('nokaslr', 'norandmaps');
  if (options.verbose) words.push('loglevel=8');
  if (options.root === 'ramfs') words.push('rootfstype=ramfs');
  if (options.accel === 'tcg') {
    // Emulated, rdtsc reads the host's counter. Left to itself, the kernel
    // measures it against the PIT, which fails on a busy host and then hangs.
    const khz = options.icount ? ICOUNT_KHZ : hostTscKhz(readFileSync('/proc/cpuinfo', 'utf8'));
    if (khz !== undefined) words.push(`tsc_early_khz=${khz}`, 'tsc=reliable');
  }
  return [...words, ...options.extra].join(' ');
}
