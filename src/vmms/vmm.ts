// SPDX-License-Identifier: MIT
/** The seam between running a guest and the program that emulates its machine. */
import type { Socket } from 'node:net';
import type { Log } from '../lib/log.js';
import type { Accel, BootProtocol, Firmware, KernelBoot, Machine, MachineType, Network, Nic, Requirement, Transport } from '../model/index.js';

export type VmmName = 'qemu' | 'firecracker' | 'cloud-hypervisor';

/** What a VMM can do. The planner compares it with what a run asks for, before any work. */
export interface VmmSupport {
  readonly boot: readonly BootProtocol[];
  /** Its machines, the usual one first, each with the firmwares that it can have, the usual one first. */
  readonly machines: Readonly<Partial<Record<MachineType, readonly Firmware[]>>>;
  readonly transports: readonly Transport[];
  readonly nics: readonly Nic['kind'][];
  /** Disks that the guest's init is told of. */
  readonly disks: boolean;
  /** Disks that it finds by itself. */
  readonly attached: boolean;
  readonly shares: boolean;
  readonly gdb: boolean;
  readonly icount: boolean;
  readonly plugins: boolean;
  /** It saves a machine, and starts others from that. */
  readonly snapshots: boolean;
}

/** Sockets between a VMM and the tool, which has the listening end. */
export const CHANNELS = ['control', 'stdin', 'stdout', 'stderr', 'serial'] as const;
export type ChannelName = (typeof CHANNELS)[number];

/** The channels of a transport. */
export const channelsOf = (transport: Transport): readonly ChannelName[] => {
  switch (transport) {
    case 'virtio-serial':
      return CHANNELS;
    case 'isa':
      return ['control', 'stdout', 'serial'];
    case 'console':
      return ['serial'];
  }
};

/** How a VMM ended. */
export interface VmmExit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stderr: string;
}

export interface StartOptions {
  /** A directory for this machine alone, with room for sockets. */
  readonly directory: string;
  /** A library that the VMM is started with (LD_PRELOAD). */
  readonly preload?: string | undefined;
}

/** A VMM's process. It does not outlive the tool. */
export interface VmmProcess {
  /** Settle when the machine connects; a VMM that ends early leaves them open for ever. */
  readonly channels: Readonly<Partial<Record<ChannelName, Promise<Socket>>>>;
  /** Settles when the process is gone and all that it wrote is read. Rejects with UKL_VMM if it could not be started. */
  readonly exit: Promise<VmmExit>;
  /** Stops all processors, with the machine's clock. Throws UKL_VMM if the VMM refuses. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Writes the guest's memory to a file, as the first processor sees it at a kernel's address. */
  saveMemory(address: bigint, bytes: number, file: string): Promise<void>;
  /** Adds a port to the guest's, and a connection to it, which removes the port when it is closed. Throws UKL_VMM if it has no room for one. */
  openPort(): Promise<{ readonly session: number; readonly socket: Socket }>;
  /** How many ports that were added are there. */
  readonly sessions: number;
  /** The process on this host; undefined once it could not be started. */
  readonly pid: number | undefined;
  /** The address at which each processor is, in hex. */
  instructionPointers(): Promise<readonly string[]>;
  /** How often its processors have left the guest for the host's kernel since the start; undefined where nobody counts. */
  exits(): Promise<number | undefined>;
  /** Writes the memory of a paused machine, and the state of its devices, to a file each. Throws UKL_VMM, or the system's error for a file. */
  save(files: { readonly memory: string; readonly state: string }): Promise<void>;
  /** Whether frames pass between the machine and the networks that it shares with others. The guest sees a cable. */
  connectNetworks(up: boolean): Promise<void>;
  /** Takes the state that a machine like it has saved, with whose memory it was started (`Machine.saved`); it is paused then. Throws UKL_VMM. */
  loadState(file: string): Promise<void>;
  kill(): void;
}

/** A kernel to try an accelerator with; an image will do, whose program is not run. */
export interface Bootable {
  readonly boot: KernelBoot;
  /** Path. */
  readonly kernel: string;
  /** Names the kernel's bits. */
  readonly id: string;
}

export interface AccelProbe {
  readonly usable: boolean;
  readonly why: string;
}

export interface Vmm {
  readonly name: VmmName;
  /** Its name in messages: "QEMU". */
  readonly title: string;
  readonly requirements: readonly Requirement[];
  /** What a firmware comes from. */
  firmwareRequirements?(firmware: Firmware): readonly Requirement[];
  readonly supports: VmmSupport;
  /** How the guest is to set up its network, behind the n-th of this VMM's own interfaces. */
  userNetwork(nth: number): Network;
  /** Chooses an accelerator; boots the kernel, if there is one by itself, where that is the way to find out. Throws UKL_ACCEL. */
  chooseAccel(choice: Accel | 'auto', kernel: Bootable | undefined, log: Log): Promise<{ readonly accel: Accel; readonly why: string }>;
  /** The processor of a run that names none. */
  defaultCpu(accel: Accel): string;
  /** Throws UKL_USAGE if there is no such processor. */
  checkCpu(cpu: string, accel: Accel): Promise<void>;
  /** What a saved machine depends on besides its own description: the VMM's version, and the processor where it is the host's. */
  identity(accel: Accel): Promise<Readonly<Record<string, string>>>;
  /** The command line, as `start()` has it. */
  command(machine: Machine, options: StartOptions): readonly string[];
  start(machine: Machine, options: StartOptions): Promise<VmmProcess>;
}
