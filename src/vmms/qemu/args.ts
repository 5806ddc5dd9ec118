// SPDX-License-Identifier: MIT
import type { Disk, PortForward, Volume } from '../../model/index.js';

/** The ports of the guest's virtio-serial device, in the order init opens them. */
export const GUEST_PORTS = ['control', 'stdin', 'stdout', 'stderr'] as const;
export type GuestPort = (typeof GUEST_PORTS)[number];

export type Accel = 'kvm' | 'tcg';

export interface QemuOptions {
  readonly accel: Accel;
  readonly kernel: string;
  readonly cmdline: string;
  readonly memoryMiB: number;
  readonly cpus: number;
  /** QEMU's model of the processor, with features. */
  readonly cpu: string;
  /** Guest time is counted instructions, 1 ns each; one emulated processor at a time. */
  readonly icount?: boolean;
  readonly ports: readonly PortForward[];
  readonly disks: readonly (Disk & { readonly serial: string })[];
  readonly volumes: readonly (Volume & { readonly tag: string })[];
  /** A plugin of QEMU's, and its arguments; one thread then emulates all processors. */
  readonly plugin?: { readonly file: string; readonly args: Readonly<Record<string, string>> } | undefined;
  /** A socket on which QEMU waits for gdb before the first instruction. */
  readonly gdb?: string | undefined;
  /** Where the sockets are that the tool listens on. */
  readonly directory: string;
}

export const QEMU = 'qemu-system-x86_64';

/** A comma separates QEMU's options; doubled, it is part of a value. */
function value(text: string): string {
  return text.replaceAll(',', ',,');
}

function forwarding(port: PortForward): string {
  return `hostfwd=${port.protocol}:127.0.0.1:${port.host}-:${port.guest}`;
}

/** QEMU's command line for a guest: a microVM with virtio devices only. */
export function qemuArgs(options: QemuOptions): string[] {
  const socket = (name: string): string[] => ['-chardev', `socket,id=${name},path=${value(`${options.directory}/${name}`)}`];
  return [
    // Without the clock chip, wall-clock time would start in 1970.
    '-M',
    'microvm,rtc=on',
    '-accel',
    options.plugin === undefined ? options.accel : `${options.accel},thread=single`,
    ...(options.plugin === undefined
      ? []
      : ['-plugin', [`file=${value(options.plugin.file)}`, ...Object.entries(options.plugin.args).map(([name, text]) => `${name}=${value(text)}`)].join(',')]),
    ...(options.icount ? ['-icount', 'shift=0,sleep=off'] : []),
    '-cpu',
    options.cpu,
    '-m',
    `${options.memoryMiB}M`,
    '-smp',
    String(options.cpus),
    '-nodefaults',
    '-no-user-config',
    // Linux drives virtio 1 only without VIRTIO_PCI_LEGACY and its like.
    '-global',
    'virtio-mmio.force-legacy=false',
    '-display',
    'none',
    // A panic, a triple fault and an orderly end all reset the machine.
    '-no-reboot',
    '-kernel',
    options.kernel,
    '-append',
    options.cmdline,
    ...(options.gdb === undefined ? [] : ['-S', '-chardev', `socket,id=gdb,path=${value(options.gdb)},server=on,wait=off`, '-gdb', 'chardev:gdb']),
    ...socket('serial'),
    '-serial',
    'chardev:serial',
    ...socket('qmp'),
    '-mon',
    'chardev=qmp,mode=control',
    '-device',
    'virtio-rng-device',
    '-device',
    'virtio-serial-device',
    ...GUEST_PORTS.flatMap((name, index) => [...socket(name), '-device', `virtserialport,chardev=${name},nr=${index + 1},name=ukl.${name}`]),
    '-netdev',
    ['user', 'id=net', ...options.ports.map(forwarding)].join(','),
    '-device',
    'virtio-net-device,netdev=net',
    ...options.disks.flatMap((disk, index) => [
      '-drive',
      `if=none,id=disk${index},format=raw,file=${value(disk.file)}`,
      '-device',
      `virtio-blk-device,drive=disk${index},serial=${disk.serial}`,
    ]),
    // What the guest writes belongs to whoever runs QEMU; owners are set if they may be (none).
    // A volume may span several file systems of the host, with the same inode numbers (remap).
    ...options.volumes.flatMap((volume) => [
      '-fsdev',
      `local,id=${volume.tag},path=${value(volume.directory)},security_model=none,multidevs=remap`,
      '-device',
      `virtio-9p-device,fsdev=${volume.tag},mount_tag=${volume.tag}`,
    ]),
  ];
}

/** A word as a shell would have to be given it. */
export function shellQuote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
