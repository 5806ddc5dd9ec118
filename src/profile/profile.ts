// SPDX-License-Identifier: MIT
/** Where the guest's instructions go while it runs, or while it serves. */
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { build } from '../build/build.js';
import { getProfiler } from '../guest/programs.js';
import { findImage } from '../image/find.js';
import { findKernel } from '../kernels/kernel.js';
import { UklError } from '../lib/errors.js';
import { silentLog } from '../lib/log.js';
import { makeScratch } from '../lib/scratch.js';
import { TIMEOUT_MAX } from '../model/image.js';
import type { KernelFlavour, Ring, RunEnd, RunResult } from '../model/index.js';
import type { BuildOptions, RunOptions } from '../options/given.js';
import { openGiven, type RunningVm, runImage } from '../run/launch.js';
import { loadPort, runLoad } from '../run/load.js';
import { type Folded, fold } from './fold.js';
import { type Dump, Profiler } from './profiler.js';
import { kernelLandmarks, type Mapping, parseMaps, Symbols } from './symbols.js';

export interface ProfileOptions extends RunOptions, BuildOptions {
  /**
   * A command of this host that gives a server work. It is run twice, once the
   * program listens: to warm up, and to be measured. PORT is the port of this
   * host that leads to the guest's first one. Without it, all of the program's
   * run is measured; `signal` then ends it, and not without a result.
   */
  readonly load?: string;
  /** Ends the measurement after so long. */
  readonly seconds?: number;
}

export interface Profile extends Folded {
  readonly format: 1;
  readonly made: string;
  readonly target: string;
  readonly kernel: { readonly flavour: KernelFlavour; readonly version: string };
  readonly ring: Ring;
  readonly load: string | undefined;
  /** Instructions of all processors. */
  readonly total: number;
  /** How the program ended, if it did before the measurement was over. */
  readonly end: RunEnd | undefined;
}

/** How often it is looked what a program has mapped. */
const INTERVAL_MS = 100;
/** Until it is seen for the first time. */
const FIRST_INTERVAL_MS = 2;

/** Collects what the program has mapped, for as long as it runs. */
class Maps {
  readonly #seen = new Map<string, Mapping>();

  async read(vm: RunningVm): Promise<void> {
    for (const mapping of parseMaps(await vm.inspect('maps'))) this.#seen.set(`${mapping.start} ${mapping.path}`, mapping);
  }

  has(path: string): boolean {
    return this.list().some((mapping) => mapping.path === path);
  }

  /** The newest first: memory that was mapped anew is what it is now. */
  list(): Mapping[] {
    return [...this.#seen.values()].reverse();
  }
}

/**
 * Runs a program in emulation and counts every instruction by its path of
 * calls, in the kernel and in the program.
 *
 * @throws UklError: as `run`; UKL_VMM if the guest ended before it listened
 */
export async function profile(target: string, options: ProfileOptions): Promise<Profile> {
  const log = options.log ?? silentLog;
  await using scratch = await makeScratch('profile');
  const work = scratch.path;
  const ended = new AbortController();
  const signal = options.signal === undefined ? ended.signal : AbortSignal.any([options.signal, ended.signal]);
  const socket = join(work, 'socket');
  using profiler = await Profiler.listen(socket);
  // Kept until its symbols are read, which is after the run.
  const found = await findImage(target, { log, signal });
  const image = found !== undefined ? await openGiven(found, options) : await build(target, { container: 'elf', ...options, out: join(work, 'image') });
  const { manifest } = image;
  const vmlinux = await findKernel(manifest.kernel.sha256);
  if (vmlinux === undefined) {
    throw new UklError('UKL_IMAGE', 'the image was built with another kernel: its symbols are not here', {
      hint: 'ukl profile TARGET, with the program rather than the image',
    });
  }
  // A run without a load is over when the user says so, and then has a profile.
  const { signal: stop, ...others } = options;
  await using vm = await runImage(image, {
    ...others,
    ...(options.load === undefined || stop === undefined ? {} : { signal: stop }),
    accel: 'tcg',
    plugin: {
      file: await getProfiler({ log, signal: options.signal }),
      args: { socket, ...(await kernelLandmarks(vmlinux)) },
    },
    // Else addresses would not be those of the files.
    kernelArgs: [...(options.kernelArgs ?? []), 'nokaslr', 'norandmaps'],
  });
  const maps = new Maps();
  // A guest that is paused at the end has none: how it goes is our doing.
  let result: RunResult | undefined;
  const over = (): void => {
    ended.abort(new UklError('UKL_VMM', 'the program ended before the load did'));
    profiler.giveUp();
  };
  vm.result.then((its) => {
    result = its;
    over();
  }, over);
  const dump = await (options.load === undefined
    ? wholeRun(vm, profiler, maps, manifest.program, options)
    : underLoad(vm, profiler, maps, options.load, options, signal));
  const symbols = await log.step('read symbols', () => Symbols.read(image, vmlinux, maps.list()));
  const folded = fold(dump, (address) => symbols.place(address));
  return {
    format: 1,
    made: new Date().toISOString(),
    target,
    kernel: { flavour: manifest.kernel.flavour, version: manifest.kernel.version },
    ring: manifest.ring,
    load: options.load,
    total: folded.tree.value,
    end: result?.end,
    ...folded,
  };
}

async function wholeRun(vm: RunningVm, profiler: Profiler, maps: Maps, program: string, { seconds, signal, log = silentLog }: ProfileOptions): Promise<Dump> {
  return log.step('count', async () => {
    const end = performance.now() + (seconds ?? Infinity) * 1000;
    let running = true;
    const over = (): void => {
      running = false;
    };
    const result = vm.result.then(over, over);
    while (running && signal?.aborted !== true && performance.now() < end) {
      await maps.read(vm);
      // A program may be over before it is looked at twice: at first there is little rest.
      await Promise.race([result, setTimeout(maps.has(program) ? INTERVAL_MS : FIRST_INTERVAL_MS)]);
    }
    if (running) await vm.pause();
    return profiler.dump();
  });
}

async function underLoad(vm: RunningVm, profiler: Profiler, maps: Maps, load: string, options: ProfileOptions, signal: AbortSignal): Promise<Dump> {
  const { seconds, log = silentLog } = options;
  const port = loadPort(vm);
  await log.step(`wait for port ${port.guest}`, () =>
    vm.listening(port.guest).catch((error: unknown) => {
      options.signal?.throwIfAborted();
      throw error;
    }),
  );
  await log.step('warm up', () => runLoad(load, port.host, signal));
  await vm.pause();
  await profiler.reset();
  await vm.resume();
  await log.step('count', () => {
    const limited = seconds === undefined ? signal : AbortSignal.any([signal, AbortSignal.timeout(Math.min(seconds, TIMEOUT_MAX) * 1000)]);
    return runLoad(load, port.host, limited).catch((error: unknown) => {
      if (signal.aborted || !limited.aborted) throw error;
    });
  });
  await vm.pause();
  const dump = await profiler.dump();
  // To look at what is mapped is work for the guest as well: afterwards.
  await vm.resume();
  await maps.read(vm);
  return dump;
}
