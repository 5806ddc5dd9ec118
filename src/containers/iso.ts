// SPDX-License-Identifier: MIT
/** A CD that is a USB stick as well, for BIOS and UEFI. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '../lib/exec.js';
import type { MediumContainer } from './container.js';
import { bootRequirements, syslinuxConfig } from './disk.js';
import { fatBytes, stamped, writeFat } from './fat.js';
import { writeUki } from './uki.js';

const ISOLINUX = '/usr/lib/ISOLINUX';
const LDLINUX = '/usr/lib/syslinux/modules/bios/ldlinux.c32';

export const iso: MediumContainer = {
  kind: 'medium',
  name: 'iso',
  title: 'a CD or a USB stick, for BIOS and UEFI',
  requirements: [
    ...bootRequirements,
    { package: 'isolinux', why: 'boots a CD by BIOS', file: `${ISOLINUX}/isolinux.bin` },
    { package: 'xorriso', why: 'makes CDs', file: '/usr/bin/xorriso' },
  ],
  boot: 'cdrom',
  carries: 'bzImage',
  format: 'raw',
  write: async (parts) => {
    const { work, out, log, signal, bzImage, initramfs } = parts;
    const tree = join(work, 'iso');
    await mkdir(join(tree, 'isolinux'), { recursive: true });
    await writeFile(join(work, 'isolinux.cfg'), syslinuxConfig(parts));
    for (const [from, to] of [
      [join(ISOLINUX, 'isolinux.bin'), 'isolinux/isolinux.bin'],
      [LDLINUX, 'isolinux/ldlinux.c32'],
      [join(work, 'isolinux.cfg'), 'isolinux/isolinux.cfg'],
      [bzImage, 'ukl/vmlinuz'],
      ...(initramfs === undefined ? [] : [[initramfs, 'ukl/initrd'] as const]),
    ] as const) {
      await stamped(from, tree, to);
    }
    // UEFI reads FAT only, so its files are there once more.
    const program = join(work, 'bootx64.efi');
    await writeUki(program, parts);
    const files = { 'EFI/BOOT/BOOTX64.EFI': await stamped(program, work, 'BOOTX64.EFI') };
    await writeFat(join(tree, 'efi.img'), files, { offset: 0, hidden: 0, bytes: await fatBytes(files), label: 'UKL', log, signal });
    await exec(
      'xorriso',
      [
        ...['-as', 'mkisofs', '-quiet', '-o', out, '-V', 'UKL', '-J', '-r', '--set_all_file_dates', '1980010100000000'],
        ...['-b', 'isolinux/isolinux.bin', '-c', 'isolinux/boot.cat', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table'],
        ...['-isohybrid-mbr', join(ISOLINUX, 'isohdpfx.bin')],
        ...['-eltorito-alt-boot', '-e', 'efi.img', '-no-emul-boot', '-isohybrid-gpt-basdat', tree],
      ],
      { log, signal, env: { SOURCE_DATE_EPOCH: '315532800' } },
    );
  },
};
