// SPDX-License-Identifier: MIT
/** Disks and network cards, as QEMU's -device has them. */
import type { DiskBus, MachineType, NicModel } from '../../model/index.js';
import { DISK_BUSES, NIC_MODELS } from '../../model/machine.js';

type Words = readonly string[];

/** A virtio device on a machine's own bus. */
export const virtio = (type: MachineType, name: string): string => `virtio-${name}-${type === 'microvm' ? 'device' : 'pci'}`;

export interface Drive {
  /** Of the -drive. */
  readonly id: string;
  readonly bus: DiskBus;
  readonly cdrom: boolean;
  readonly serial: string | undefined;
  /** How many drives of this bus come before it. */
  readonly nth: number;
  /** Whether the firmware is to boot from it. */
  readonly boots: boolean;
}

interface Bus {
  /** The controller, if the machine has none by itself. */
  readonly controller: (type: MachineType, id: string) => Words;
  readonly disk: string;
  readonly cdrom?: string;
  /** Where the disk is plugged in. */
  readonly port?: (type: MachineType, id: string, nth: number) => string;
  /** How many a machine's own controller takes; each disk brings one otherwise. */
  readonly most?: number;
  readonly serial: boolean;
}

const none = (): Words => [];
const sata = 'ide-hd';

const BUSES: Readonly<Record<DiskBus, Bus>> = {
  virtio: { controller: none, disk: '', serial: true },
  scsi: {
    controller: (_type, id) => ['-device', `virtio-scsi-pci,id=bus-${id}`],
    disk: 'scsi-hd',
    cdrom: 'scsi-cd',
    port: (_type, id) => `bus-${id}.0`,
    serial: true,
  },
  pvscsi: {
    controller: (_type, id) => ['-device', `pvscsi,id=bus-${id}`],
    disk: 'scsi-hd',
    cdrom: 'scsi-cd',
    port: (_type, id) => `bus-${id}.0`,
    serial: true,
  },
  nvme: { controller: none, disk: 'nvme', serial: true },
  ahci: {
    // The q35 has one, the pc has none.
    controller: (type, id) => (type === 'q35' ? [] : ['-device', `ich9-ahci,id=bus-${id}`]),
    disk: sata,
    cdrom: 'ide-cd',
    // Each port of the q35's takes one drive.
    port: (type, id, nth) => (type === 'q35' ? `ide.${nth}` : `bus-${id}.0`),
    most: 6,
    serial: true,
  },
  // Two channels with two drives each.
  ide: { controller: none, disk: sata, cdrom: 'ide-cd', port: (_type, _id, nth) => `ide.${nth >> 1},unit=${nth & 1}`, most: 4, serial: true },
  usb: {
    controller: (_type, id) => ['-device', `qemu-xhci,id=bus-${id}`],
    disk: 'usb-storage',
    cdrom: 'usb-storage',
    port: (_type, id) => `bus-${id}.0`,
    serial: true,
  },
  sd: { controller: () => ['-device', 'sdhci-pci'], disk: 'sd-card', most: 1, serial: false },
};

/** Which buses a machine can have. */
export const busesOf = (type: MachineType): readonly DiskBus[] =>
  type === 'microvm' ? ['virtio'] : DISK_BUSES.filter((bus) => bus !== 'ide' || type === 'pc');

/** How many drives of a bus a machine takes. */
export const mostOf = (bus: DiskBus): number => BUSES[bus].most ?? Number.POSITIVE_INFINITY;

/** The words for a drive that -drive has made. */
export function driveWords(type: MachineType, { id, bus, cdrom, serial, nth, boots }: Drive): Words {
  const its = BUSES[bus];
  const device = bus === 'virtio' ? virtio(type, 'blk') : ((cdrom ? its.cdrom : undefined) ?? its.disk);
  const port = its.port?.(type, id, nth);
  const words = [
    device,
    `drive=${id}`,
    ...(port === undefined ? [] : [`bus=${port}`]),
    ...(serial === undefined || !its.serial ? [] : [`serial=${serial}`]),
    // A card cannot be put in an order: it is the only one.
    ...(boots && bus !== 'sd' ? ['bootindex=0'] : []),
  ];
  return [...its.controller(type, id), '-device', words.join(',')];
}

export const nicsOf = (type: MachineType): readonly NicModel[] => (type === 'microvm' ? ['virtio'] : NIC_MODELS);

/** The -device of a network card. On PCI, without the ROM that would try to boot from the network. */
export function nicDevice(type: MachineType, model: NicModel): string {
  const device = model === 'virtio' ? virtio(type, 'net') : model;
  return type === 'microvm' ? device : `${device},romfile=`;
}
