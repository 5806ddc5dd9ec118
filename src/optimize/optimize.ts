// SPDX-License-Identifier: MIT
/** A kernel that is compiled for what a program does with it under a load. */
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { resolveTarget, type Target } from '../app/target.js';
import { build, buildTo, profileOf } from '../build/build.js';
import { findKernel } from '../kernels/kernel.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import { silentLog } from '../lib/log.js';
import { makeScratch } from '../lib/scratch.js';
import type { ArcCounts, Image } from '../model/index.js';
import { isSmall } from '../model/kernel.js';
import type { ResolvedConfig, UklConfig } from '../options/config.js';
import type { BuildOptions } from '../options/given.js';
import { type RunningVm, runImage } from '../run/launch.js';
import { loadPort, runLoad } from '../run/load.js';
import { fromStore } from '../store/store.js';
import { difference, encodeUnit, hottestArc, type ReadMemory, readCounters } from './gcov.js';

/** Gives a server work, twice: to warm up, and to be recorded. `key` is all that determines the work. */
export interface Load {
  readonly key: string;
  readonly give: (port: number, signal: AbortSignal) => Promise<void>;
}

/** A load that is a command of this host, with the port in PORT. */
export const commandLoad = (command: string): Load => ({ key: command, give: (port, signal) => runLoad(command, port, signal) });

/** The kernel's own data, where nearly all counters are, by one reading; the modules' by readings of their own. */
async function memoryOf(vm: RunningVm, from: bigint, to: bigint): Promise<ReadMemory> {
  const image = await vm.memory(from, Number(to - from));
  return async (address, bytes) => {
    const at = Number(address - from);
    return at >= 0 && at + bytes <= image.length ? image.subarray(at, at + bytes) : vm.memory(address, bytes);
  };
}

/** Addresses of symbols, by nm. Throws UKL_BUG for one that is not there. */
function addressesIn(symbols: string): (name: string) => bigint {
  return (name) => {
    const address = new RegExp(`^([0-9a-f]{16}) \\w ${name}$`, 'm').exec(symbols)?.[1];
    if (address === undefined) throw new UklError('UKL_BUG', `the kernel has no ${name}`);
    return BigInt(`0x${address}`);
  };
}

/** Boots an image whose kernel counts, gives it the load, and returns what was counted meanwhile, in the store. */
async function record(image: Image, load: Load, options: BuildOptions): Promise<ArcCounts> {
  const { log = silentLog } = options;
  const vmlinux = await findKernel(image.manifest.kernel.sha256);
  if (vmlinux === undefined) throw new UklError('UKL_BUG', 'the symbols of the kernel are gone');
  const gcc = Number.parseInt(await exec('gcc', ['-dumpversion']), 10);
  const path = await fromStore(
    {
      kind: 'counts',
      title: `record ${image.manifest.name} under its load`,
      key: {
        ...{ kernel: image.manifest.kernel.sha256, files: image.manifest.initramfs.sha256, cmdline: image.manifest.cmdline, run: image.manifest.run },
        ...{ load: load.key, directory: process.cwd() },
      },
      make: async ({ output, progress }) => {
        const address = addressesIn(await exec('nm', [vmlinux]));
        const ended = new AbortController();
        const signal = options.signal === undefined ? ended.signal : AbortSignal.any([options.signal, ended.signal]);
        const { ports, timeoutSeconds: _, ...others } = image.manifest.run;
        await using vm = await runImage(
          { ...image, manifest: { ...image.manifest, run: { ...others, ports: [] } } },
          {
            ...(options.signal === undefined ? {} : { signal: options.signal }),
            log,
            // The usual port may be in use.
            ports: ports.map(({ guest, protocol }) => `0:${guest}/${protocol}`),
            kernelArgs: ['nokaslr', 'nopti'],
          },
        );
        vm.stdout.resume();
        vm.stderr.resume();
        const over = (): void => ended.abort(new UklError('UKL_VMM', 'the program ended before the load did', { hint: 'ukl run, to see why' }));
        vm.result.then(over, over);
        const port = loadPort(vm);
        const counted = async () => {
          await vm.pause();
          const read = await memoryOf(vm, address('_text'), address('_end'));
          const units = await readCounters(read, address('gcov_info_head'), gcc);
          await vm.resume();
          return units;
        };
        progress(`wait for port ${port.guest}`);
        await vm.listening(port.guest);
        progress('warm up');
        await load.give(port.host, signal);
        const before = await counted();
        progress('give the load');
        await load.give(port.host, signal);
        const units = difference(before, await counted());
        const hottest = hottestArc(units);
        if (hottest <= 0n) throw new UklError('UKL_COMMAND', 'the load gave the kernel nothing to do', { hint: 'a load that asks the server for something' });
        await mkdir(join(output, 'counts'));
        for (const [name, unit] of units) await writeFile(join(output, 'counts', name), encodeUnit(unit, hottest));
      },
    },
    { log, signal: options.signal },
  );
  return { directory: join(path, 'counts'), id: basename(path), load: load.key };
}

/** Throws UKL_USAGE, before kernels are built, for a program that cannot be recorded. */
function checkRecordable({ config, name }: Target, profile: ResolvedConfig['profile']): void {
  const refused: readonly (readonly [boolean, string, string])[] = [
    [isSmall(profile), `a kernel of the profile '${profile}' is not optimised: it is compiled for size`, '--profile server'],
    [config.ports.every((port) => port.endsWith('/udp')), `a load needs a port that leads to ${name}`, "ports: ['8080:80'] in ukl.config"],
    [
      config.disks.length + config.volumes.length + config.data.length > 0,
      `${name} would be recorded on its own disks and volumes`,
      'a configuration without them, to optimise',
    ],
  ];
  const first = refused.find(([is]) => is);
  if (first !== undefined) throw new UklError('UKL_USAGE', first[1], { hint: first[2] });
}

/**
 * Builds an image whose kernel and modules are compiled for a load: boots the
 * program on a kernel that counts, gives it the load, and compiles again with what
 * was counted (GCC's profile-guided optimisation). Each step is in the store.
 *
 * @throws UklError: as `build` and `run`; UKL_COMMAND if the load fails
 */
export async function optimize(targetPath: string | UklConfig, load: Load, options: BuildOptions = {}): Promise<Image> {
  await using scratch = await makeScratch('optimize');
  const target = await resolveTarget(targetPath);
  const profile = profileOf(target, options);
  checkRecordable(target, profile);
  const counting = await buildTo(join(scratch.path, 'image'), target, {
    ...options,
    key: undefined,
    cert: undefined,
    container: 'elf',
    profile,
    counting: true,
  });
  const counts = await record(counting, load, options);
  return build(targetPath, { ...options, counts });
}
