// SPDX-License-Identifier: MIT
/** Whether an image's kernel has drivers for what a machine is given: one that has none starts, and misses a disk or its network. */
import { readKernelOptions } from '../kernels/kernel.js';
import { UklError } from '../lib/errors.js';
import type { DiskBus, Image, Machine, NicModel } from '../model/index.js';

const NICS: Readonly<Record<NicModel, string>> = {
  virtio: 'CONFIG_VIRTIO_NET',
  e1000: 'CONFIG_E1000',
  e1000e: 'CONFIG_E1000E',
  rtl8139: 'CONFIG_8139CP',
  vmxnet3: 'CONFIG_VMXNET3',
  pcnet: 'CONFIG_PCNET32',
};

const DISKS: Readonly<Record<DiskBus, string>> = {
  virtio: 'CONFIG_VIRTIO_BLK',
  scsi: 'CONFIG_SCSI_VIRTIO',
  nvme: 'CONFIG_BLK_DEV_NVME',
  ahci: 'CONFIG_SATA_AHCI',
  ide: 'CONFIG_ATA_PIIX',
  usb: 'CONFIG_USB_STORAGE',
  pvscsi: 'CONFIG_VMWARE_PVSCSI',
  sd: 'CONFIG_MMC_SDHCI_PCI',
};

/** Throws UKL_USAGE. Of a kernel that is not in the store nothing is known. The medium that boots is read by the firmware alone. */
export async function checkDrivers({ manifest: { name, kernel } }: Image, { nics, nicModel, attached, firmware }: Machine): Promise<void> {
  const wanted: readonly (readonly [what: string, option: string])[] = [
    ...(nics.length > 0 && nicModel !== 'virtio' ? [[`a driver for ${nicModel}`, NICS[nicModel]] as const] : []),
    ...attached.map(({ bus }) => [`a driver for disks by ${bus}`, DISKS[bus]] as const),
    ...(firmware === 'uefi' || firmware === 'secure-boot' ? [['an EFI stub, which UEFI starts', 'CONFIG_EFI_STUB'] as const] : []),
  ];
  if (wanted.length === 0) return;
  const options = await readKernelOptions(kernel.sha256);
  const lacking = wanted.find(([, option]) => options !== undefined && options.get(option) !== 'y');
  if (lacking === undefined) return;
  const [what, option] = lacking;
  throw new UklError('UKL_USAGE', `the kernel of ${name} lacks ${what} (${option}): it has the profile '${kernel.profile}'`, {
    hint: `build it with --profile hardware, or with ${option}=y in kernelConfig`,
  });
}
