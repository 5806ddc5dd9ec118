// SPDX-License-Identifier: MIT

/** How a VMM enters a kernel: the 32-bit entry of a bzImage (boot.rst), an ELF's PVH note, or a program of UEFI. */
export type KernelBoot = 'linux' | 'pvh' | 'efi';

/** What starts an image: a VMM that enters its kernel, or a firmware that reads a medium. */
export type BootProtocol = KernelBoot | 'disk' | 'cdrom';

/** A PC as QEMU has it: without PCI, with PCI Express, with PCI. */
export const MACHINE_TYPES = ['microvm', 'q35', 'pc'] as const;
export type MachineType = (typeof MACHINE_TYPES)[number];

/** What runs before the image: nothing, a PC's BIOS, or UEFI, which may ask for signatures. */
export const FIRMWARES = ['none', 'bios', 'uefi', 'secure-boot'] as const;
export type Firmware = (typeof FIRMWARES)[number];

/** What a disk is connected to. */
export const DISK_BUSES = ['virtio', 'scsi', 'nvme', 'ahci', 'ide', 'usb', 'pvscsi', 'sd'] as const;
export type DiskBus = (typeof DISK_BUSES)[number];

/** What a network interface is to the guest. */
export const NIC_MODELS = ['virtio', 'e1000', 'e1000e', 'rtl8139', 'vmxnet3', 'pcnet'] as const;
export type NicModel = (typeof NIC_MODELS)[number];

/** What boots: files, and the words that the VMM adds to the command line of the image. */
export type Payload =
  | {
      readonly boot: KernelBoot;
      readonly kernel: string;
      /** Where it is not in the kernel's file. */
      readonly initramfs?: string;
      readonly cmdline: string;
    }
  | {
      readonly boot: 'disk' | 'cdrom';
      readonly file: string;
      /** As QEMU names it. */
      readonly format: string;
      readonly bus: DiskBus;
    };

export type Accel = 'kvm' | 'tcg';

/** A port of the host that leads to one of the guest. */
export interface PortForward {
  /** Where the host listens: 127.0.0.1 unless said otherwise. */
  readonly address: string;
  readonly host: number;
  readonly guest: number;
  readonly protocol: 'tcp' | 'udp';
}

/** A network interface, by what it is connected to. */
export type Nic =
  /** The VMM's own network: outgoing connections, and the ports that are forwarded. The n-th has addresses of its own. */
  | { readonly kind: 'user'; readonly ports: readonly PortForward[]; readonly nth: number; readonly mac?: string | undefined }
  /** A TAP device of the host; with vhost, its kernel moves the packets. */
  | { readonly kind: 'tap'; readonly device: string; readonly vhost: boolean; readonly mac: string; readonly mtu?: number | undefined }
  /** A bridge of the host, by the VMM's helper. */
  | { readonly kind: 'bridge'; readonly device: string; readonly mac: string }
  /** A Unix socket where somebody listens: Ethernet frames, each behind its length in four bytes. */
  | { readonly kind: 'socket'; readonly path: string; readonly mac: string }
  /** The same, where the VMM itself listens: for one at a time, and for another when that has gone. */
  | { readonly kind: 'listen'; readonly path: string; readonly mac: string };

/** How one of the guest's interfaces gets its addresses. The loopback interface is there in any case. */
export interface Network {
  /** "eth0" unless there is a `mac`; with that, what the interface is to be called. */
  readonly interface?: string | undefined;
  /** Says which interface it is. */
  readonly mac?: string | undefined;
  /** IPv4 by DHCP; IPv6, without waiting for it, as routers say. */
  readonly dhcp?: boolean;
  /** IPv6 as routers and DHCPv6 say; the program starts when it is there. */
  readonly ipv6?: boolean;
  /** "10.0.2.15/24", "2001:db8::2/64" */
  readonly addresses: readonly string[];
  readonly gateways: readonly string[];
  /** Name servers; the C library goes by the first three of all. */
  readonly dns: readonly string[];
}

export interface Disk {
  /** A raw image with an ext4 file system. */
  readonly file: string;
  /** Where the guest mounts it. */
  readonly path: string;
}

/** File systems that our kernels have and that can be made. */
export type DataType = 'ext4' | 'xfs' | 'btrfs';

/** File systems that are somewhere else, by Linux' names. */
export const REMOTE_TYPES = ['nfs4', 'cifs', '9p', 'virtiofs'] as const;
export type RemoteType = (typeof REMOTE_TYPES)[number];

/** A file system that the guest finds and mounts by itself. */
export interface Data {
  /** "LABEL=db", "UUID=...", "/dev/nvme0n1"; what is remote: "192.0.2.1:/export", "//192.0.2.1/share", a tag. */
  readonly source: string;
  /** Where the guest mounts it. */
  readonly path: string;
  /** What is made on first use, on a disk that has nothing; without it, nothing is. */
  readonly make?: DataType | undefined;
  /** Of one that is not on a disk of the machine's: what mount(2) is told. */
  readonly remote?: { readonly type: RemoteType; readonly options: string } | undefined;
}

/** A raw disk that the guest finds and mounts by itself. */
export interface AttachedDisk {
  readonly file: string;
  readonly bus: DiskBus;
}

/** A directory of the host, shared with the guest while it runs. */
export interface Volume {
  readonly directory: string;
  /** Where the guest mounts it. */
  readonly path: string;
  /** The guest cannot change what is in it. */
  readonly readonly?: boolean | undefined;
}

/** Carries the guest's control line and the program's streams. */
export type Transport =
  | 'virtio-serial'
  /** kmain(): lines go to a debug port, what the program prints to the second serial port. Nothing comes from the host. */
  | 'isa'
  /** The serial console for all: init says there how the program ended. Nothing comes from the host. */
  | 'console';

/** Where the lines of the transport 'isa' go: the I/O port of QEMU's isa-debugcon, and of Bochs' and Cloud Hypervisor's debug console. */
export const REPORT_PORT = 0xe9;

/** A virtual machine, complete. How it is made is the VMM's business. */
export interface Machine {
  readonly payload: Payload;
  readonly type: MachineType;
  readonly firmware: Firmware;
  /** Of the network interfaces. */
  readonly nicModel: NicModel;
  readonly memoryMiB: number;
  /** The memory of one that was saved, for whose state this one waits. What it writes stays out of the file. */
  readonly saved?: string | undefined;
  readonly cpus: number;
  /** The VMM's model of the processor, with features. */
  readonly cpu: string;
  readonly accel: Accel;
  readonly nics: readonly Nic[];
  readonly disks: readonly (Disk & { readonly serial: string })[];
  readonly attached: readonly AttachedDisk[];
  readonly shares: readonly (Volume & { readonly tag: string })[];
  readonly devices: readonly 'rng'[];
  /** Tables and chips of a PC that a small kernel has no driver for, and no use: ACPI, and the timer and interrupt controller of the PC/AT. */
  readonly legacy: boolean;
  readonly console: 'serial';
  readonly transport: Transport;
  /** Guest time is counted instructions, 1 ns each; one emulated processor at a time. */
  readonly icount: boolean;
  /** A plugin of the VMM's, and its arguments; one thread then emulates all processors. */
  readonly plugin?: { readonly file: string; readonly args: Readonly<Record<string, string>> } | undefined;
  /** A socket on which the VMM waits for gdb before the first instruction. */
  readonly gdb?: string | undefined;
}
