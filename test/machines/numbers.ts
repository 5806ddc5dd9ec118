// SPDX-License-Identifier: MIT
/**
 * What an image takes, by container and profile, and how long a program takes to start by each firmware:
 * `npx tsx test/machines/numbers.ts`. Writes docs/notes/starts.md.
 */
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Counter } from '../../src/bench/counter.js';
import { loadConfig } from '../../src/config/load.js';
import { containers } from '../../src/containers/index.js';
import { getCounter } from '../../src/guest/programs.js';
import { findKernel } from '../../src/kernels/kernel.js';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { makeScratch } from '../../src/lib/scratch.js';
import type { ContainerName, Image, KernelProfile } from '../../src/model/index.js';
import { build, createLog, type RunningVm, type RunOptions, run, type UklConfig } from '../../src/sdk/index.js';

const MIB = 2 ** 20;
const RETRY_MS = 50;
const GUEST_SECONDS = 180;
const SIZED: readonly (readonly [KernelProfile, ContainerName])[] = [
  ['server', 'bzImage'],
  ['server', 'elf'],
  ...containers.names.map((name): readonly [KernelProfile, ContainerName] => ['hardware', name]),
];
/** From the machine with the least before the kernel to the one with the most. */
const WAYS: readonly { readonly what: string; readonly profile: KernelProfile; readonly container: ContainerName; readonly options: RunOptions }[] = [
  { what: "microVM, the kernel's PVH entry", profile: 'server', container: 'elf', options: { machine: 'microvm' } },
  { what: "microVM, the kernel's PVH entry", profile: 'hardware', container: 'elf', options: { machine: 'microvm' } },
  { what: "q35, the kernel by QEMU's own loader", profile: 'hardware', container: 'bzImage', options: { machine: 'q35' } },
  { what: 'q35, a disk, BIOS', profile: 'hardware', container: 'disk', options: { machine: 'q35', firmware: 'bios' } },
  { what: 'q35, a CD, BIOS', profile: 'hardware', container: 'iso', options: { machine: 'q35', firmware: 'bios' } },
  { what: 'q35, a disk, UEFI', profile: 'hardware', container: 'disk', options: { machine: 'q35', firmware: 'uefi' } },
  { what: 'q35, a CD, UEFI', profile: 'hardware', container: 'iso', options: { machine: 'q35', firmware: 'uefi' } },
  { what: 'q35, an EFI program', profile: 'hardware', container: 'uki', options: { machine: 'q35', firmware: 'uefi' } },
];

interface Program {
  readonly name: string;
  readonly config: UklConfig;
  /** Settles once the program has said, or answered, something. */
  readonly awaken: (vm: RunningVm) => Promise<void>;
  readonly ports: readonly string[];
}

const log = createLog();
await using scratch = await makeScratch('numbers');

/** It stays, so that counts can be read. */
const HELLO = '#include <stdio.h>\n#include <unistd.h>\n\nint main(void)\n{\n\tputs("hello");\n\tfflush(stdout);\n\treturn pause();\n}\n';
const source = join(scratch.path, 'hello.c');
await writeFile(source, HELLO);

async function firstLine({ stdout, result }: RunningVm): Promise<void> {
  for await (const _ of stdout) return void stdout.resume();
  throw new Error(`the guest ended with ${JSON.stringify((await result).end)}`);
}

async function firstAnswer(vm: RunningVm): Promise<void> {
  vm.stdout.resume();
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${vm.port(80)}/`, { signal: AbortSignal.timeout(5000) }).catch(() => undefined);
    if (answer?.ok) return;
    if (vm.state === 'ended') throw new Error(`the guest ended with ${JSON.stringify((await vm.result).end)}`);
    await setTimeout(RETRY_MS);
  }
}

const nginx = join(projectRoot, 'examples/nginx');
const { files = [], build: commands = [], ...config } = await loadConfig(nginx);
const PROGRAMS: readonly Program[] = [
  { name: 'hello', config: { name: 'hello', sources: [source] }, awaken: firstLine, ports: [] },
  {
    ...{ name: 'nginx', awaken: firstAnswer, ports: ['0:80'] },
    config: { ...config, build: commands, files: files.map((file) => (/^[$/]/.test(file) ? file : join(nginx, file))) },
  },
];

async function seconds(image: Image, program: Program, options: RunOptions): Promise<number> {
  const began = performance.now();
  await using vm = await run(image.path, { ...options, ports: program.ports, accel: 'tcg', memory: '512M', timeout: GUEST_SECONDS });
  vm.stderr.resume();
  await program.awaken(vm);
  return (performance.now() - began) / 1000;
}

/** Where functions of an ELF file are. */
async function addressOf(file: string, name: string): Promise<string> {
  const [, address] = new RegExp(`^([0-9a-f]{16}) [tT] ${name}$`, 'm').exec(await exec('nm', [file])) ?? [];
  if (address === undefined) throw new Error(`${file} has no ${name}()`);
  return address;
}

/** Millions of instructions before the kernel's start_kernel(), and from there to the program's main(). */
async function instructions(image: Image, program: Program, options: RunOptions): Promise<readonly [number, number]> {
  const vmlinux = (await findKernel(image.manifest.kernel.sha256)) ?? '';
  const at = `kernel:${await addressOf(vmlinux, 'start_kernel')}+main:${await addressOf(image.host?.program ?? '', 'main')}`;
  const socket = join(scratch.path, 'socket');
  using counter = await Counter.listen(socket);
  const plugin = { file: await getCounter({ log, signal: undefined }), args: { socket, at } };
  await using vm = await run(image.path, { ...options, plugin, ports: program.ports, accel: 'tcg', memory: '512M', timeout: 2 * GUEST_SECONDS });
  vm.stderr.resume();
  await program.awaken(vm);
  const counts = await counter.read();
  const kernel = counts['kernel.at'] ?? NaN;
  return [kernel / 1e6, ((counts['main.at'] ?? NaN) - kernel) / 1e6];
}

// Else the symbols' addresses would not be theirs.
const pinned = (one: UklConfig): UklConfig => ({ ...one, kernelArgs: ['nokaslr'] });
const make = (one: UklConfig, profile: KernelProfile, container: ContainerName): Promise<Image> =>
  build(one, { log, profile, container, out: join(scratch.path, `${profile}-${container}`) });

const sizes: string[] = [];
for (const [profile, container] of SIZED) {
  const cells: string[] = [];
  for (const program of PROGRAMS) cells.push(((await stat((await make(program.config, profile, container)).path)).size / MIB).toFixed(1));
  sizes.push(`| \`${container}\` | ${profile} | ${cells.join(' | ')} |`);
}
const starts: string[] = [];
for (const program of PROGRAMS) {
  for (const { what, profile, container, options } of WAYS) {
    const image = await make(pinned(program.config), profile, container);
    const wall = await seconds(image, program, options);
    const [before, kernel] = await instructions(image, program, options);
    starts.push(`| ${program.name} | ${what} | ${profile} | ${before.toFixed(0)} | ${kernel.toFixed(0)} | ${wall.toFixed(1)} s |`);
    log.info(starts.at(-1) ?? '');
  }
}
await writeFile(
  join(projectRoot, 'docs/notes/starts.md'),
  `# Sizes and starts

\`npx tsx test/machines/numbers.ts\`, the last time it was run. hello is a C program that prints a line and stays; nginx is \`examples/nginx\`; both in ring 0.

## Images, in MiB

A disk with a file system has room in it; \`gce-tar\` is compressed.

| container | profile | hello | nginx |
| --- | --- | --- | --- |
${sizes.join('\n')}

## From the start of the machine to main()

One processor, 512 MiB, QEMU 7.2's emulation. Instructions, in millions, are counted: those before the kernel's start_kernel(), which are the firmware's, the boot loader's and the decompression's,
and those from there to the program's main(). Seconds are from the start of the VMM to hello's line or nginx' first answer, on a busy host.

| program | starts by | profile | before the kernel | the kernel, to main() | seconds |
| --- | --- | --- | --- | --- | --- |
${starts.join('\n')}
`,
);
