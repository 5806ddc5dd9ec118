// SPDX-License-Identifier: MIT
/** Disks that boot by BIOS and by UEFI, in the formats that hypervisors and clouds take. */
import { readFileSync } from 'node:fs';
import { open, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { align } from '../lib/align.js';
import { exec } from '../lib/exec.js';
import { hashFile } from '../lib/hash.js';
import type { ContainerName, Requirement } from '../model/index.js';
import type { MediumContainer, MediumParts } from './container.js';
import { fatBytes, requirements as fatRequirements, stamped, type Tree, writeFat } from './fat.js';
import { diskUuid, slotBytes, uuidOf } from './slots.js';
import { ukiRequirements, writeUki } from './uki.js';

const SYSTEMD_BOOT = '/usr/lib/systemd/boot/efi/systemd-bootx64.efi';
const MBR = '/usr/lib/syslinux/mbr/gptmbr.bin';

export const bootRequirements: readonly Requirement[] = [
  ...fatRequirements,
  ...ukiRequirements,
  { package: 'syslinux', why: 'boots a disk by BIOS', file: '/usr/bin/syslinux' },
  { package: 'syslinux-common', why: 'boots a disk by BIOS', file: MBR },
  { package: 'fdisk', why: 'makes partition tables', file: '/sbin/sfdisk' },
  { package: 'qemu-utils', why: 'converts disks', file: '/usr/bin/qemu-img' },
];

/** SYSLINUX' and ISOLINUX' configuration. */
export const syslinuxConfig = ({ cmdline, initramfs }: MediumParts): string =>
  `SERIAL 0 115200\nDEFAULT ukl\nLABEL ukl\n  LINUX /ukl/vmlinuz\n${initramfs === undefined ? '' : '  INITRD /ukl/initrd\n'}  APPEND ${cmdline}\n`;

/** A boot loader specification entry: uapi-group.org/specifications/specs/boot_loader_specification. */
const loaderEntry = ({ name, cmdline, initramfs }: MediumParts): string =>
  `title ${name}\nlinux /ukl/vmlinuz\n${initramfs === undefined ? '' : 'initrd /ukl/initrd\n'}options ${cmdline}\n`;

/** What the file system of a boot partition has. A signed one starts by an EFI program that has all in it; others share the files with BIOS. */
export async function bootTree(parts: MediumParts): Promise<Tree> {
  const { work, cmdline, bzImage, initramfs, signer, updates } = parts;
  const text = async (file: string, content: string): Promise<string> => {
    const path = join(work, `plain-${file}`);
    await writeFile(path, content);
    return stamped(path, work, file);
  };
  const uefi = async (): Promise<Tree> => {
    if (signer !== undefined) {
      const program = join(work, 'bootx64.efi');
      await writeUki(program, parts);
      return { 'EFI/BOOT/BOOTX64.EFI': await stamped(program, work, 'BOOTX64.EFI') };
    }
    return {
      'EFI/BOOT/BOOTX64.EFI': await stamped(SYSTEMD_BOOT, work, 'BOOTX64.EFI'),
      'loader/loader.conf': await text('loader.conf', 'timeout 0\neditor no\n'),
      'loader/entries/ukl.conf': await text('ukl.conf', loaderEntry(parts)),
    };
  };
  return {
    ...(await uefi()),
    'ukl/vmlinuz': await stamped(bzImage, work, 'vmlinuz'),
    ...(initramfs === undefined ? {} : { 'ukl/initrd': await stamped(initramfs, work, 'initrd') }),
    'syslinux.cfg': await text('syslinux.cfg', syslinuxConfig(parts)),
    ...(updates ? { 'ukl/cmdline': await text('cmdline', `${cmdline}\n`) } : {}),
  };
}

const SECTOR = 512;
const MIB = 2 ** 20;
/** Where the partition begins: behind the table, as all tools have it. */
const START = MIB;
/** The table's copy. */
const TAIL = MIB;
/** UEFI specification, table 5.7. */
const EFI_SYSTEM_PARTITION = 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B';

/** Discoverable Partitions Specification: a root file system of x86-64; its attribute 60 says read-only. */
const LINUX_ROOT = '4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709';
/** A partition that no firmware starts: ours. */
const IDLE_SLOT = uuidOf('partition type', 'idle slot');

/** Makes the file system that a firmware starts from, as a file. */
export async function writeBoot(out: string, parts: MediumParts): Promise<number> {
  const { log, signal } = parts;
  const tree = await bootTree(parts);
  const bytes = await fatBytes(tree);
  await writeFat(out, tree, { offset: 0, hidden: START, bytes, label: 'UKL', log, signal });
  await exec('syslinux', ['--install', out], { log, signal, env: { MTOOLS_SKIP_CHECK: '1', SOURCE_DATE_EPOCH: '315532800', TZ: 'UTC' } });
  return bytes;
}

/** sfdisk's words for a partition, without its place. */
interface Partition {
  readonly words: string;
  readonly bytes: number;
  /** The file that goes there. */
  readonly content?: string;
}

/** What init (guest/init/slots.c) and firmware expect: the slot that starts, the other one, and the root file systems of the first and the second on the disk. */
function partitionsOf(parts: MediumParts, boot: string, bytes: number): readonly Partition[] {
  const { name, root, updates, sums, cmdline } = parts;
  const starts = `type=${EFI_SYSTEM_PARTITION}, name="ukl", attrs="LegacyBIOSBootable"`;
  const holds = `type=${LINUX_ROOT}, name="ukl-root", attrs="GUID:60"`;
  if (!updates)
    return [
      { words: `uuid=${uuidOf('partition', ...sums, cmdline)}, ${starts}`, bytes, content: boot },
      ...(root === undefined ? [] : [{ words: `uuid=${root.uuid}, ${holds}`, bytes: align(root.bytes, MIB), content: root.file }]),
    ];
  const slot = slotBytes(bytes);
  const roots = root === undefined ? 0 : slotBytes(root.bytes);
  return [
    { words: `uuid=${uuidOf('active slot', name)}, ${starts}`, bytes: slot, content: boot },
    { words: `uuid=${uuidOf('idle slot', name)}, type=${IDLE_SLOT}, name="ukl-idle"`, bytes: slot },
    ...(root === undefined
      ? []
      : [
          { words: `uuid=${root.uuid}, ${holds}`, bytes: roots, content: root.file },
          { words: `uuid=${uuidOf('idle root', name)}, ${holds}`, bytes: roots },
        ]),
  ];
}

/** Writes a raw disk. */
async function writeRaw(out: string, parts: MediumParts): Promise<void> {
  const { log, signal, sums, cmdline, name, work } = parts;
  const boot = join(work, 'boot');
  const partitions = partitionsOf(parts, boot, await writeBoot(boot, parts));
  const table = ['label: gpt', `label-id: ${parts.updates ? diskUuid(name) : uuidOf('disk', ...sums, cmdline)}`];
  let at = START;
  const contents: (readonly [file: string, at: number])[] = [];
  for (const { words, bytes, content } of partitions) {
    table.push(`start=${at / SECTOR}, size=${bytes / SECTOR}, ${words}`);
    if (content !== undefined) contents.push([content, at]);
    at += bytes;
  }
  const file = await open(out, 'wx');
  await file.truncate(at + TAIL);
  await file.close();
  await exec('/sbin/sfdisk', ['--quiet', '--no-reread', '--no-tell-kernel', out], { log, signal, input: `${table.join('\n')}\n` });
  for (const [content, place] of contents)
    await exec('dd', [`if=${content}`, `of=${out}`, 'bs=1M', `seek=${place / MIB}`, 'conv=notrunc,sparse', 'status=none'], { log, signal });
  // The code that looks for the partition: the first 440 bytes are the BIOS'.
  const handle = await open(out, 'r+');
  const code = readFileSync(MBR);
  await handle.write(code, 0, Math.min(code.length, 440), 0);
  await handle.close();
}

/** What becomes of the raw disk, which is `raw`; the result is at `out`. */
type Conversion = (raw: string, parts: MediumParts) => Promise<void>;

const convert =
  (format: string, options?: string): Conversion =>
  async (raw, { out, log, signal }) =>
    void (await exec('qemu-img', ['convert', '-f', 'raw', '-O', format, ...(options === undefined ? [] : ['-o', options]), raw, out], { log, signal }));

/** tar, with nothing of this host in it. */
const tar = (out: string, directory: string, names: readonly string[], { log, signal }: MediumParts, extra: readonly string[] = []): Promise<string> =>
  exec('tar', ['--create', `--file=${out}`, '--owner=0', '--group=0', '--numeric-owner', '--mtime=@315532800', ...extra, '-C', directory, ...names], {
    log,
    signal,
  });

/** Google's: a tar of the old GNU format, with the disk under this name (cloud.google.com/compute/docs/import/import-existing-image). */
const gceTar: Conversion = async (raw, parts) => {
  const gigabyte = 2 ** 30;
  const { size } = await stat(raw);
  const handle = await open(raw, 'r+');
  await handle.truncate(Math.ceil(size / gigabyte) * gigabyte);
  await handle.close();
  await exec('/sbin/sfdisk', ['--quiet', '--relocate', 'gpt-bak-std', raw], parts);
  await rename(raw, join(parts.work, 'disk.raw'));
  const archive = join(parts.work, 'disk.tar');
  await tar(archive, parts.work, ['disk.raw'], parts, ['--format=oldgnu', '--sparse']);
  await exec('gzip', ['--no-name', '--force', archive], parts);
  await exec('mv', [`${archive}.gz`, parts.out], parts);
};

/** A virtual machine as VMware and VirtualBox import it: DMTF DSP0243. */
function descriptor({ name, cpus, memoryMiB }: MediumParts, file: string, fileBytes: number, diskBytes: number): string {
  const safe = name.replaceAll(/[^\w.-]/g, '-');
  return `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References><File ovf:id="file1" ovf:href="${file}" ovf:size="${fileBytes}"/></References>
  <DiskSection><Info>Disks</Info><Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="${diskBytes}" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/></DiskSection>
  <NetworkSection><Info>Networks</Info><Network ovf:name="VM Network"><Description>The network</Description></Network></NetworkSection>
  <VirtualSystem ovf:id="${safe}">
    <Info>A unikernel that is Linux</Info>
    <Name>${safe}</Name>
    <OperatingSystemSection ovf:id="101"><Info>Linux, 64 bits</Info></OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Hardware</Info>
      <System><vssd:ElementName>Virtual Hardware</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType></System>
      <Item><rasd:ElementName>${cpus} CPU</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>${cpus}</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>${memoryMiB} MiB</rasd:ElementName><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>${memoryMiB}</rasd:VirtualQuantity></Item>
      <Item><rasd:ElementName>SCSI</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>Disk</rasd:ElementName><rasd:HostResource>ovf:/disk/disk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:AutomaticAllocation>true</rasd:AutomaticAllocation><rasd:Connection>VM Network</rasd:Connection><rasd:ElementName>Network</rasd:ElementName><rasd:InstanceID>5</rasd:InstanceID><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
`;
}

const ova: Conversion = async (raw, parts) => {
  const { work, log, signal } = parts;
  const disk = 'disk.vmdk';
  const path = join(work, disk);
  await exec('qemu-img', ['convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', raw, path], { log, signal });
  const ovf = join(work, 'image.ovf');
  await writeFile(ovf, descriptor(parts, disk, (await stat(path)).size, (await stat(raw)).size));
  const sums = await Promise.all(['image.ovf', disk].map(async (file) => `SHA256(${file})= ${await hashFile(join(work, file))}\n`));
  await writeFile(join(work, 'image.mf'), sums.join(''));
  // The descriptor first (DSP0243, 5.3).
  await tar(parts.out, work, ['image.ovf', 'image.mf', disk], parts, ['--format=ustar']);
};

/** @param format QEMU's name of it; a VMM cannot start from an archive */
function diskContainer(name: ContainerName, title: string, format: string | undefined, conversion: Conversion | undefined): MediumContainer {
  return {
    kind: 'medium',
    name,
    title,
    requirements: bootRequirements,
    boot: 'disk',
    carries: 'bzImage',
    partitions: true,
    ...(format === undefined ? {} : { format }),
    write: async (parts) => {
      if (conversion === undefined) return writeRaw(parts.out, parts);
      const raw = join(parts.work, 'raw');
      await writeRaw(raw, parts);
      await conversion(raw, parts);
    },
  };
}

export const disks: readonly MediumContainer[] = [
  diskContainer('disk', 'a raw disk, for BIOS and UEFI', 'raw', undefined),
  diskContainer('qcow2', 'the same for QEMU, libvirt, Proxmox and OpenStack', 'qcow2', convert('qcow2')),
  diskContainer('vhd', 'the same for Azure and Hyper-V', 'vpc', convert('vpc', 'subformat=fixed,force_size')),
  diskContainer('vmdk', 'the same for VMware', 'vmdk', convert('vmdk', 'subformat=streamOptimized')),
  diskContainer('ova', 'a machine that VMware and VirtualBox import', undefined, ova),
  diskContainer('gce-tar', 'a disk that Google Compute Engine imports', undefined, gceTar),
];
