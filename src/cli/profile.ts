// SPDX-License-Identifier: MIT
import { writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import pc from 'picocolors';
import { UklError } from '../lib/errors.js';
import { EXIT, statusOfEnd } from '../model/exit-status.js';
import type { BuildOptions, RunOptions } from '../options/given.js';
import { flamegraph } from '../profile/flamegraph.js';
import type { FunctionCost } from '../profile/fold.js';
import { type Profile, profile } from '../profile/profile.js';
import { isKernel } from '../profile/symbols.js';
import { describeEnd } from '../run/end.js';
import { printJson } from './output.js';
import type { RunFlags } from './run.js';

export type ProfileFlags = RunFlags & {
  readonly load?: string;
  readonly count?: number;
  readonly seconds?: number;
  readonly report?: string;
};

const SHOWN = 10;

function table(title: string, functions: readonly FunctionCost[], total: number, count: number | undefined): string[] {
  const per = count ?? 1;
  const rows = functions.slice(0, SHOWN).map(({ name, object, self, calls }) => {
    const figure = Math.round(self / per)
      .toLocaleString('en')
      .padStart(count === undefined ? 15 : 9);
    const called = (calls / per).toLocaleString('en', { maximumFractionDigits: count === undefined ? 0 : 1 }).padStart(12);
    return `  ${`${((100 * self) / total).toFixed(1)} %`.padStart(7)} ${figure} ${called}  ${name}${isKernel({ name, object }) ? '' : pc.dim(` (${object})`)}`;
  });
  const heads = [count === undefined ? 'instructions' : 'per request', count === undefined ? 'calls' : 'calls each'] as const;
  return [pc.bold(title), pc.dim(`    share ${heads[0].padStart(count === undefined ? 15 : 9)} ${heads[1].padStart(12)}  function`), ...rows];
}

function describe({ total, functions }: Profile, count: number | undefined): string {
  const kernel = functions.filter(isKernel);
  const program = functions.filter((cost) => !isKernel(cost));
  const share = (all: readonly FunctionCost[]): string => `${((100 * all.reduce((sum, { self }) => sum + self, 0)) / total).toFixed(1)} %`;
  const each = count === undefined ? '' : `, ${Math.round(total / count).toLocaleString('en')} a request`;
  return [
    `${total.toLocaleString('en')} instructions${each}: ${share(kernel)} in the kernel, ${share(program)} in programs`,
    ...table('kernel', kernel, total, count),
    ...table('programs', program, total, count),
  ].join('\n');
}

/** `ukl profile`: prints the costliest functions and writes the flame graph. */
export async function profileCommand(target: string, options: RunOptions & BuildOptions, flags: ProfileFlags): Promise<number> {
  for (const [given, flag] of [
    [flags.dryRun, '--dry-run'],
    [options.gdb, '--gdb'],
    [options.accel === 'kvm', '--accel kvm'],
    [flags.seconds !== undefined && flags.count !== undefined, '--seconds with --count'],
  ] as const) {
    if (given) throw new UklError('UKL_USAGE', `ukl profile cannot be had with ${flag}`);
  }
  const measured = await profile(target, {
    ...options,
    ...(flags.load === undefined ? {} : { load: flags.load }),
    ...(flags.seconds === undefined ? {} : { seconds: flags.seconds }),
    stdin: Readable.from([]),
    stdout: flags.json ? process.stderr : process.stdout,
    stderr: process.stderr,
  });
  const report = flags.report ?? 'profile.html';
  await writeFile(report, await flamegraph(measured));
  // The tree of a large program is longer than a string can be: it is in the report.
  const { tree: _, ...summary } = measured;
  if (flags.json) printJson({ ok: true, report, ...summary });
  else process.stdout.write(`${describe(measured, flags.count)}\nflame graph: ${report}\n`);
  if (measured.end === undefined) return EXIT.ok;
  const end = describeEnd(measured.end);
  if (end !== undefined && !flags.json) process.stderr.write(`${pc.red('✖')} ${end}\n`);
  return statusOfEnd(measured.end);
}
