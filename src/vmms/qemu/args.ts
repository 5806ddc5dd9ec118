// SPDX-License-Identifier: MIT
import type { Machine, MachineType, Nic, PortForward } from '../../model/index.js';
import { REPORT_PORT } from '../../model/machine.js';
import { driveWords, nicDevice, virtio } from './devices.js';
import { firmwareWords } from './firmware.js';

/** The ports of the guest's virtio-serial device, in the order init opens them. */
const GUEST_PORTS = ['control', 'stdin', 'stdout', 'stderr'] as const;

/** The first port that is free for sessions (0 is kept for a console), and the last; ports.ts says why there are no more. */
export const SESSION_PORTS = { first: GUEST_PORTS.length + 1, last: GUEST_PORTS.length + 13 } as const;

export const QEMU = 'qemu-system-x86_64';

/** A comma separates QEMU's options; doubled, it is part of a value. */
function value(text: string): string {
  return text.replaceAll(',', ',,');
}

function forwarding(port: PortForward): string {
  return `hostfwd=${port.protocol}:${port.address}:${port.host}-:${port.guest}`;
}

/** The name of a machine's n-th network. */
export const netdevOf = (index: number): string => `net${index}`;

/** An option with its value, or several of them. */
type Words = readonly string[];

/** The other end of an interface: QEMU's documentation, "Network emulation". */
function netdev(nic: Nic): string {
  switch (nic.kind) {
    case 'user':
      return ['user', ...(nic.nth === 0 ? [] : [`net=10.0.${2 + nic.nth}.0/24`]), ...nic.ports.map(forwarding)].join(',');
    case 'tap':
      return `tap,ifname=${value(nic.device)},script=no,downscript=no,vhost=${nic.vhost ? 'on' : 'off'}`;
    case 'bridge':
      return `bridge,br=${value(nic.device)}`;
    case 'socket':
    case 'listen':
      return `stream,server=${nic.kind === 'listen' ? 'on' : 'off'},addr.type=unix,addr.path=${value(nic.path)}`;
  }
}

function networkCard({ type, nicModel }: Machine, nic: Nic, index: number): Words {
  const [kind = '', ...rest] = netdev(nic).split(',');
  const mac = nic.mac === undefined ? '' : `,mac=${nic.mac}`;
  const mtu = nic.kind === 'tap' && nic.mtu !== undefined ? `,host_mtu=${nic.mtu}` : '';
  return ['-netdev', [kind, `id=${netdevOf(index)}`, ...rest].join(','), '-device', `${nicDevice(type, nicModel)},netdev=${netdevOf(index)}${mac}${mtu}`];
}

function plugin({ file, args }: NonNullable<Machine['plugin']>): Words {
  return ['-plugin', [`file=${value(file)}`, ...Object.entries(args).map(([name, text]) => `${name}=${value(text)}`)].join(',')];
}

type SocketWords = (name: string) => Words;

const virtioPorts = (type: MachineType, socket: SocketWords): Words[] => [
  ['-device', virtio(type, 'serial')],
  ...GUEST_PORTS.map((name, index) => [...socket(name), '-device', `virtserialport,chardev=${name},nr=${index + 1},name=ukl.${name}`]),
];

/** What the words of src/image/kmain.ts name. */
const isaPorts = (socket: SocketWords): Words[] => [
  [...socket('control'), '-device', `isa-debugcon,chardev=control,iobase=${REPORT_PORT}`],
  [...socket('stdout'), '-device', 'isa-serial,chardev=stdout,index=1,iobase=0x2f8,irq=3'],
];

/** The machine, with what of it the guest has a use for. */
function board({ type, firmware, legacy }: Machine): string {
  switch (type) {
    case 'microvm':
      // Without the clock chip, wall-clock time would start in 1970.
      return legacy ? 'microvm,rtc=on' : 'microvm,rtc=on,acpi=off,pic=off,pit=off';
    case 'q35':
      return firmware === 'secure-boot' ? 'q35,smm=on' : 'q35';
    case 'pc':
      return 'pc';
  }
}

/**
 * A machine that was saved, with its memory, and that waits for its state: as a migration, without
 * the description of the machine that QEMU puts around one.
 */
function savedWords({ memoryMiB, saved }: Machine): Words {
  if (saved === undefined) return [];
  return [
    ...['-object', `memory-backend-file,id=memory,size=${memoryMiB}M,share=off,mem-path=${value(saved)}`],
    ...['-machine', 'memory-backend=memory,suppress-vmdesc=on'],
    ...['-global', 'migration.send-configuration=off', '-incoming', 'defer', '-S'],
  ];
}

/** What boots. A medium is not written to: two guests may have the same, and it stays what was built. */
function payloadWords({ type, payload }: Machine): readonly Words[] {
  switch (payload.boot) {
    case 'linux':
    case 'pvh':
    case 'efi':
      return [
        ['-kernel', payload.kernel],
        payload.initramfs === undefined ? [] : ['-initrd', payload.initramfs],
        payload.cmdline === '' ? [] : ['-append', payload.cmdline],
      ];
    case 'disk':
    case 'cdrom': {
      const cdrom = payload.boot === 'cdrom';
      return [
        ['-drive', `if=none,id=boot,format=${payload.format},${cdrom ? 'media=cdrom,readonly=on' : 'snapshot=on'},file=${value(payload.file)}`],
        driveWords(type, { id: 'boot', bus: payload.bus, cdrom, serial: 'boot', nth: 0, boots: true }),
      ];
    }
  }
}

/** How many drives on the bus of an attached disk come before it. */
function before({ payload, attached }: Machine, index: number): number {
  const bus = attached[index]?.bus;
  const boots = (payload.boot === 'disk' || payload.boot === 'cdrom') && payload.bus === bus ? 1 : 0;
  return boots + attached.slice(0, index).filter((one) => one.bus === bus).length;
}

/** QEMU's command line; the tool listens on the sockets in `directory`. */
export function qemuArgs(machine: Machine, directory: string): string[] {
  const socket = (name: string): Words => ['-chardev', `socket,id=${name},path=${value(`${directory}/${name}`)}`];
  const words: readonly Words[] = [
    ['-M', board(machine)],
    ...firmwareWords(machine.firmware, directory),
    ['-accel', machine.plugin === undefined ? machine.accel : `${machine.accel},thread=single`],
    machine.plugin === undefined ? [] : plugin(machine.plugin),
    machine.icount ? ['-icount', 'shift=0,sleep=off'] : [],
    ['-cpu', machine.cpu],
    ['-m', `${machine.memoryMiB}M`],
    savedWords(machine),
    ['-smp', String(machine.cpus)],
    ['-nodefaults', '-no-user-config'],
    // Linux drives virtio 1 only without VIRTIO_PCI_LEGACY and its like.
    machine.type === 'microvm' ? ['-global', 'virtio-mmio.force-legacy=false'] : [],
    ['-display', 'none'],
    // A panic, a triple fault and an orderly end all reset the machine.
    ['-no-reboot'],
    ...payloadWords(machine),
    machine.gdb === undefined ? [] : ['-S', '-chardev', `socket,id=gdb,path=${value(machine.gdb)},server=on,wait=off`, '-gdb', 'chardev:gdb'],
    [...socket('serial'), '-serial', 'chardev:serial'],
    [...socket('qmp'), '-mon', 'chardev=qmp,mode=control'],
    machine.devices.includes('rng') ? ['-device', virtio(machine.type, 'rng')] : [],
    ...(machine.transport === 'isa' ? isaPorts(socket) : virtioPorts(machine.type, socket)),
    ...machine.nics.map((nic, index) => networkCard(machine, nic, index)),
    ...machine.disks.map((disk, index) => [
      ...['-drive', `if=none,id=disk${index},format=raw,file=${value(disk.file)}`],
      ...driveWords(machine.type, { id: `disk${index}`, bus: 'virtio', cdrom: false, serial: disk.serial, nth: 0, boots: false }),
    ]),
    ...machine.attached.map(({ file, bus }, index) => [
      ...['-drive', `if=none,id=attached${index},format=raw,file=${value(file)}`],
      ...driveWords(machine.type, { id: `attached${index}`, bus, cdrom: false, serial: `attached${index}`, nth: before(machine, index), boots: false }),
    ]),
    // What the guest writes belongs to the user that runs QEMU; owners are set if that user may (none).
    // A volume may span several file systems of the host, with the same inode numbers (remap).
    ...machine.shares.map((share) => [
      ...['-fsdev', `local,id=${share.tag},path=${value(share.directory)},security_model=none,multidevs=remap${share.readonly ? ',readonly=on' : ''}`],
      ...['-device', `${virtio(machine.type, '9p')},fsdev=${share.tag},mount_tag=${share.tag}`],
    ]),
  ];
  return words.flat();
}
