// SPDX-License-Identifier: MIT
import { isImage, openImage } from '../image/image.js';
import { UklError } from '../lib/errors.js';
import { formatSize } from '../lib/size.js';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { findConfig, loadConfig } from '../config/load.js';
import { EXIT } from './exit-codes.js';
import { type GlobalOptions, printJson } from './output.js';

/** How many of the largest files are shown. */
const SHOWN_FILES = 12;

async function findImage(target: string): Promise<string> {
  if (await isImage(target)) return target;
  if (existsSync(target) && findConfig(target) !== undefined) {
    const { name } = await loadConfig(target);
    const path = join(target, '.ukl', `${name}.image`);
    if (await isImage(path)) return path;
  }
  throw new UklError('UKL_IMAGE', `${target} is not an image`, { hint: `ukl build ${target}` });
}

/** `ukl inspect`: what is in an image, how large, of which version, at which ring. */
export async function inspectCommand(target: string, flags: GlobalOptions): Promise<number> {
  const { manifest, path } = await openImage(await findImage(target));
  if (flags.json) {
    printJson({ ok: true, image: path, manifest });
    return EXIT.ok;
  }
  const total = manifest.kernel.bytes + manifest.initramfs.bytes;
  const boots = manifest.boot === 'elf' ? 'ELF with a PVH entry' : 'bzImage';
  const largest = [...manifest.files].sort((a, b) => b.bytes - a.bytes);
  const lines = [
    `${manifest.name}  ${formatSize(total)}, ${boots}`,
    `  kernel     Linux ${manifest.kernel.version} (${manifest.kernel.flavour}), ${formatSize(manifest.kernel.bytes)}, sha256 ${manifest.kernel.sha256.slice(0, 16)}`,
    `  initramfs  ${manifest.initramfs.files} files, ${formatSize(manifest.initramfs.bytes)}, sha256 ${manifest.initramfs.sha256.slice(0, 16)}`,
    `  ring ${manifest.ring}     ${manifest.program}`,
    '  ring 3     everything else (/.ukl/init is PID 1)',
    `  cmdline    ${manifest.cmdline}`,
    `  starts     ${manifest.run.args.join(' ')}`,
    `  machine    ${manifest.run.memoryMiB} MiB, ${manifest.run.cpus} processor(s)`,
    ...manifest.run.ports.map((port) => `  port       ${port.host} -> ${port.guest}/${port.protocol}`),
    ...manifest.run.disks.map((disk) => `  disk       ${disk.file} at ${disk.path}`),
    '  largest files',
    ...largest.slice(0, SHOWN_FILES).map((file) => `    ${formatSize(file.bytes).padStart(10)}  ${file.path}  ${file.sha256.slice(0, 16)}`),
    ...(largest.length > SHOWN_FILES ? [`    ... and ${largest.length - SHOWN_FILES} more (--json lists all)`] : []),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.ok;
}
