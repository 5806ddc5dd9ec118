// SPDX-License-Identifier: MIT
/** The honest baseline: the program as PID 1, without our init. What it says comes over the serial console. */
import { readFile } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { UklError } from '../lib/errors.js';
import type { RunOptions } from '../options/given.js';
import type { RunningVm } from '../run/launch.js';
import { run } from '../run/run.js';
import { type Built, isPid1 } from './suite.js';

/** The kernel parses the last word of each name. Its own messages would be in between. */
export function asPid1({ manifest }: Pick<Built, 'manifest'>): string[] {
  const { args } = manifest.run;
  return [`rdinit=${manifest.program}`, 'loglevel=1', ...(args.length > 0 ? ['--', ...args] : [])];
}

/** Starts a guest; under PID 1 the console is `stdout`. */
export async function start(built: Built, options: RunOptions): Promise<RunningVm> {
  const { signal } = built;
  const common = { ...options, accel: 'tcg', ...(signal === undefined ? {} : { signal }) } as const;
  if (!isPid1(built.variant)) return run(built.image, common);
  return run(built.image, { ...common, verbose: true, stdout: new PassThrough().resume(), kernelArgs: [...(options.kernelArgs ?? []), ...asPid1(built)] });
}

/** The stream on which a program's first words come. */
export const outputOf = (built: Built, vm: RunningVm): RunningVm['stdout'] => (isPid1(built.variant) ? vm.stderr : vm.stdout);

interface Ended {
  readonly ok: boolean;
  readonly output: string;
  readonly why: string;
}

async function toTheEnd(built: Built, options: RunOptions): Promise<Ended> {
  const vm = await start(built, options);
  const [output, , result] = await Promise.all([
    text(outputOf(built, vm)),
    text(vm.stderr === outputOf(built, vm) ? new PassThrough().end() : vm.stderr),
    vm.result,
  ]);
  if (!isPid1(built.variant)) return { ok: result.end.kind === 'exit' && result.end.status === 0, output, why: JSON.stringify(result.end) };
  // When PID 1 exits, the kernel says with what, and dies.
  const console = await readFile(result.log, 'utf8');
  return { ok: /Attempted to kill init! exitcode=0x00000000/.test(console), output: console, why: JSON.stringify(result.end) };
}

/** Whether the program ends well. */
export async function runs(built: Built, options: RunOptions): Promise<boolean> {
  return (await toTheEnd(built, options)).ok;
}

/** What the program prints. Throws UKL_VMM if it does not end well. */
export async function printed(built: Built, options: RunOptions): Promise<string> {
  const { ok, output, why } = await toTheEnd(built, options);
  if (!ok) throw new UklError('UKL_VMM', `the guest ended with ${why}`);
  return output;
}
