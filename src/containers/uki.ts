// SPDX-License-Identifier: MIT
/** One program of UEFI with kernel, initramfs and command line: uapi-group.org/specifications/specs/unified_kernel_image. */
import { open, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { align } from '../lib/align.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import type { Requirement } from '../model/index.js';
import type { MediumContainer, MediumParts } from './container.js';

const STUB = '/usr/lib/systemd/boot/efi/linuxx64.efi.stub';

export const ukiRequirements: readonly Requirement[] = [
  { package: 'systemd-boot-efi', why: 'the part of an EFI program that starts the kernel', file: STUB },
  { package: 'sbsigntool', why: 'signs EFI programs', file: '/usr/bin/sbsign' },
];

/** The stub's own sections end below; each of ours begins at a multiple of the section alignment. */
const FIRST = 0x20000;
const ALIGNMENT = 0x1000;

/** Where a PE file says where its header is, and what in that changes with the time of the link (Microsoft's PE format): TimeDateStamp, and CheckSum, which UEFI does not look at. */
const HEADER_AT = 0x3c;
const CHANGING = [8, 88] as const;

/** objcopy writes the time of the day; the same parts are to make the same bits. */
async function forgetTime(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    const at = Buffer.alloc(4);
    await handle.read(at, 0, 4, HEADER_AT);
    for (const place of CHANGING) await handle.write(Buffer.alloc(4), 0, 4, at.readUInt32LE() + place);
  } finally {
    await handle.close();
  }
}

/** Signs an EFI program in place. Throws UKL_COMMAND if key and certificate are no pair. */
async function sign(file: string, { signer, work, log, signal }: MediumParts): Promise<void> {
  if (signer === undefined) return;
  const { key, cert } = signer;
  const signed = join(work, 'signed.efi');
  try {
    await exec('sbsign', ['--key', key, '--cert', cert, '--output', signed, file], { log, signal });
    await exec('sbverify', ['--cert', cert, signed], { log, signal });
  } catch (cause) {
    signal?.throwIfAborted();
    throw new UklError('UKL_USAGE', `${key} cannot sign for ${cert}: they are not a pair, no PEM files, or the key has a passphrase`, {
      cause,
      log,
      hint: `openssl x509 -noout -pubkey -in ${cert}; openssl pkey -pubout -in ${key}`,
    });
  }
  await exec('mv', [signed, file], { log, signal });
}

/** Writes a unified kernel image, signed if there is somebody to sign. */
export async function writeUki(out: string, parts: MediumParts): Promise<void> {
  const { work, cmdline, name, bzImage, initramfs, log, signal } = parts;
  const osrel = join(work, 'os-release');
  const words = join(work, 'cmdline');
  await writeFile(osrel, `ID=ukl\nPRETTY_NAME="${name.replaceAll(/["\\$`]/g, '')}"\n`);
  await writeFile(words, `${cmdline}\0`);
  const args: string[] = [];
  let at = FIRST;
  // The initramfs last: it is what the kernel may be decompressed over.
  for (const [section, file] of [
    ['.osrel', osrel],
    ['.cmdline', words],
    ['.linux', bzImage],
    ...(initramfs === undefined ? [] : [['.initrd', initramfs] as const]),
  ] as const) {
    args.push('--add-section', `${section}=${file}`, '--change-section-vma', `${section}=0x${at.toString(16)}`);
    at = align(at + (await stat(file)).size, ALIGNMENT);
  }
  await exec('objcopy', [...args, STUB, out], { log, signal });
  await forgetTime(out);
  await sign(out, parts);
}

export const uki: MediumContainer = {
  kind: 'medium',
  name: 'uki',
  title: 'an EFI program, for UEFI and Secure Boot',
  requirements: ukiRequirements,
  boot: 'efi',
  carries: 'bzImage',
  write: (parts) => writeUki(parts.out, parts),
};
