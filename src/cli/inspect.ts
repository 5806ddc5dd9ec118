// SPDX-License-Identifier: MIT
import { containers } from '../containers/index.js';
import type { Section } from '../elf/sections.js';
import { type ElfDetails, inspect } from '../inspect/inspect.js';
import type { Surface } from '../inspect/surface.js';
import { formatSize } from '../lib/size.js';
import { EXIT } from '../model/exit-status.js';
import { describeFit, type GlobalOptions, logFor, printJson } from './output.js';

export interface InspectFlags extends GlobalOptions {
  readonly calls?: boolean;
  readonly sections?: boolean;
}

function describeCalls({ path, calls }: ElfDetails): string[] {
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

function describeSurface({ textBytes, calls, missing }: Surface): string[] {
  return [
    `  surface    ${formatSize(textBytes)} of code, ${calls} system calls`,
    ...(missing.length > 0
      ? [
          `             without ${missing.slice(0, SHOWN_FILES).join(' ')}${missing.length > SHOWN_FILES ? ` and ${missing.length - SHOWN_FILES} more (--json)` : ''}`,
        ]
      : []),
  ];
}

/** `ukl inspect`: what is in an image, how large, of which version, at which ring. */
export async function inspectCommand(target: string, flags: InspectFlags): Promise<number> {
  const { image, elf: details, kernelSections: kernel, surface } = await inspect(target, { ...flags, log: logFor(flags) });
  const { manifest, path } = image;
  if (flags.json) {
    printJson({
      ok: true,
      image: path,
      manifest,
      ...(details.length > 0 ? { elf: details } : {}),
      ...(kernel ? { kernelSections: kernel } : {}),
      ...(surface ? { surface } : {}),
    });
    return EXIT.ok;
  }
  const total = manifest.kernel.bytes + (manifest.root?.bytes ?? manifest.initramfs.bytes);
  const largest = [...manifest.files].sort((a, b) => b.bytes - a.bytes);
  const lines = [
    `${manifest.name}  ${formatSize(total)}, ${containers.get(manifest.container).title}`,
    `  kernel     Linux ${manifest.kernel.version} (${manifest.kernel.flavour}, ${manifest.kernel.profile}), ${formatSize(manifest.kernel.bytes)}, sha256 ${manifest.kernel.sha256.slice(0, 16)}`,
    manifest.root === undefined
      ? `  initramfs  ${manifest.initramfs.files} files, ${formatSize(manifest.initramfs.bytes)}, sha256 ${manifest.initramfs.sha256.slice(0, 16)}`
      : `  root       ${manifest.initramfs.files} files, ${formatSize(manifest.root.bytes)}, read-only`,
    `  ring 0     ${manifest.ring0.join(', ') || 'nothing'}`,
    ...(manifest.kernel.optimizedFor === undefined ? [] : [`  optimised  for ${manifest.kernel.optimizedFor}`]),
    ...describeFit(manifest.kernel.fit),
    ...(surface ? describeSurface(surface) : []),
    `  ring 3     ${manifest.init.kind === 'kmain' ? 'everything else' : 'everything else (/.ukl/init is PID 1)'}`,
    `  PID 1      ${manifest.init.kind === 'kmain' ? 'kmain(), in the kernel' : `our init: ${manifest.init.why}`}`,
    `  cmdline    ${manifest.cmdline}`,
    `  starts     ${[...manifest.run.command, ...manifest.run.args].join(' ')}`,
    ...(manifest.run.user === undefined ? [] : [`  user       ${manifest.run.user.uid}:${manifest.run.user.gid}`]),
    ...(manifest.run.exposed.length === 0 ? [] : [`  exposes    ${manifest.run.exposed.join(', ')}`]),
    `  machine    ${manifest.run.memoryMiB === undefined ? 'memory by its files' : `${manifest.run.memoryMiB} MiB`}, ${manifest.run.cpus} processor(s)`,
    ...manifest.run.ports.map((port) => `  port       ${port.address}:${port.host} -> ${port.guest}/${port.protocol}`),
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
