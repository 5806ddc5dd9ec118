// SPDX-License-Identifier: MIT

import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findConfig, loadConfig } from '../config/load.js';
import { type CallSites, callSites } from '../elf/calls.js';
import { isElf } from '../elf/elf.js';
import { readSections, type Section } from '../elf/sections.js';
import { filesOf } from '../image/extract.js';
import { isImage, openImage } from '../image/image.js';
import { findKernel } from '../kernels/kernel.js';
import { UklError } from '../lib/errors.js';
import { formatSize } from '../lib/size.js';
import type { Image } from '../model/index.js';
import { EXIT } from './exit-status.js';
import { type GlobalOptions, logFor, printJson } from './output.js';

export interface InspectFlags extends GlobalOptions {
  readonly calls?: boolean;
  readonly sections?: boolean;
}

interface FileDetails {
  readonly path: string;
  readonly calls?: CallSites;
  readonly sections?: readonly Section[];
}

/** What is asked for about each ELF file of the image, which is taken apart for it. */
async function detailsOf(image: Image, flags: InspectFlags): Promise<FileDetails[]> {
  if (!flags.calls && !flags.sections) return [];
  const work = await mkdtemp(join(tmpdir(), 'ukl-inspect-'));
  const details: FileDetails[] = [];
  try {
    for await (const { path, data } of filesOf(image, (name) => !name.startsWith('/.ukl/'))) {
      const file = join(work, 'file');
      await writeFile(file, data);
      if (!(await isElf(file))) continue;
      details.push({
        path,
        ...(flags.calls ? { calls: await callSites(file) } : {}),
        ...(flags.sections ? { sections: await readSections(file) } : {}),
      });
    }
    return details;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The kernel's own sections, if the kernel is still in the store. */
async function kernelSections(image: Image): Promise<readonly Section[] | undefined> {
  const { kernel } = image.manifest;
  const path = await findKernel(kernel.sha256);
  return path === undefined ? undefined : readSections(path);
}

function describeCalls({ path, calls }: FileDetails): string[] {
  if (calls === undefined) return [];
  const total = calls.calls + calls.raw.length;
  if (total === 0) return [];
  const raw = [...new Set(calls.raw)];
  return [
    `  ${path}: ${total} sites, ${calls.calls} through the entry, ${calls.raw.length} by the SYSCALL instruction`,
    ...(raw.length > 0
      ? [`    SYSCALL in ${raw.slice(0, SHOWN_FILES).join(', ')}${raw.length > SHOWN_FILES ? `, and ${raw.length - SHOWN_FILES} more` : ''}`]
      : []),
    `    ${calls.names.length} system calls: ${calls.names.join(' ')}`,
    ...(calls.unknown > 0 ? [`    and ${calls.unknown} sites whose number is not in sight (syscall() and its like)`] : []),
  ];
}

const describeSections = (path: string, sections: readonly Section[]): string[] => [
  `  ${path}`,
  ...sections.map(({ name, bytes, address }) => `    ${formatSize(bytes).padStart(10)}  ${name.padEnd(20)} ${address}`),
];

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
export async function inspectCommand(target: string, flags: InspectFlags): Promise<number> {
  const image = await openImage(await findImage(target));
  const { manifest, path } = image;
  const details = await logFor(flags).step(`read ${manifest.name}`, () => detailsOf(image, flags));
  const kernel = flags.sections ? await kernelSections(image) : undefined;
  if (flags.json) {
    printJson({ ok: true, image: path, manifest, ...(details.length > 0 ? { elf: details } : {}), ...(kernel ? { kernelSections: kernel } : {}) });
    return EXIT.ok;
  }
  const total = manifest.kernel.bytes + manifest.initramfs.bytes;
  const boots = manifest.boot === 'elf' ? 'ELF with a PVH entry' : 'bzImage';
  const largest = [...manifest.files].sort((a, b) => b.bytes - a.bytes);
  const lines = [
    `${manifest.name}  ${formatSize(total)}, ${boots}`,
    `  kernel     Linux ${manifest.kernel.version} (${manifest.kernel.flavour}), ${formatSize(manifest.kernel.bytes)}, sha256 ${manifest.kernel.sha256.slice(0, 16)}`,
    `  initramfs  ${manifest.initramfs.files} files, ${formatSize(manifest.initramfs.bytes)}, sha256 ${manifest.initramfs.sha256.slice(0, 16)}`,
    `  ring 0     ${manifest.ring0.join(', ') || 'nothing'}`,
    '  ring 3     everything else (/.ukl/init is PID 1)',
    `  cmdline    ${manifest.cmdline}`,
    `  starts     ${[...manifest.run.command, ...manifest.run.args].join(' ')}`,
    `  machine    ${manifest.run.memoryMiB} MiB, ${manifest.run.cpus} processor(s)`,
    ...manifest.run.ports.map((port) => `  port       ${port.host} -> ${port.guest}/${port.protocol}`),
    ...manifest.run.disks.map((disk) => `  disk       ${disk.file} at ${disk.path}`),
    ...manifest.run.volumes.map((volume) => `  volume     ${volume.directory} at ${volume.path}`),
    '  largest files',
    ...largest.slice(0, SHOWN_FILES).map((file) => `    ${formatSize(file.bytes).padStart(10)}  ${file.path}  ${file.sha256.slice(0, 16)}`),
    ...(largest.length > SHOWN_FILES ? [`    ... and ${largest.length - SHOWN_FILES} more (--json lists all)`] : []),
    ...(flags.calls ? ['system calls', ...details.flatMap(describeCalls)] : []),
    ...(flags.sections
      ? [
          'sections',
          ...details.flatMap((one) => describeSections(one.path, one.sections ?? [])),
          ...(kernel ? describeSections('the kernel', kernel) : ['  the kernel is not in the store any more']),
        ]
      : []),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.ok;
}
