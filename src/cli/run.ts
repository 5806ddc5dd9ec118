// SPDX-License-Identifier: MIT

import { PassThrough, Writable } from 'node:stream';
import pc from 'picocolors';
import { portsOf } from '../devices/nic.js';
import { featureOfCall } from '../kernels/fit.js';
import { UklError } from '../lib/errors.js';
import { formatSeconds } from '../lib/log.js';
import { EXIT } from '../model/exit-status.js';
import type { RunResult } from '../model/index.js';
import type { BuildOptions, RunOptions } from '../options/given.js';
import { describeEnd } from '../run/end.js';
import { dryRun, type RunningVm } from '../run/launch.js';
import type { RunPlan } from '../run/plan.js';
import { run } from '../run/run.js';
import { restore } from '../run/snapshot.js';
import { type GlobalOptions, printJson } from './output.js';

export interface RunFlags extends GlobalOptions {
  readonly dryRun?: boolean;
  readonly verbose?: boolean;
}

/** The signals that end the tool's work, and are the program's once it runs. */
export const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Aborts on a signal until it is released. */
export interface Interruptible {
  readonly signal: AbortSignal;
  release(): void;
}

function tellEnd(result: RunResult, quiet: boolean): void {
  if (!quiet && result.missingCalls.length > 0) {
    const features = [...new Set(result.missingCalls.map((call) => featureOfCall(call) ?? call))];
    process.stderr.write(
      `${pc.yellow('!')} the program made system calls that its kernel was built without: ${result.missingCalls.join(', ')}\n${pc.bold('next:')} needs: [${features.map((name) => `'${name}'`).join(', ')}] in ukl.config, or --profile server\n`,
    );
  }
  const text = describeEnd(result.end);
  if (text === undefined || quiet) return;
  const lines = [`${pc.red('✖')} ${text}`];
  if (result.end.kind === 'signal' && result.end.fault) lines.push(`  ${result.end.fault.text}`);
  if (['panic', 'timeout', 'triple-fault', 'reboot', 'vmm', 'guest-setup'].includes(result.end.kind)) {
    lines.push(...result.kernelLog.slice(-20).map((line) => `  ${line}`));
    if (result.end.kind === 'guest-setup') lines.push(`${pc.bold('next:')} ${result.end.hint}`);
    lines.push(`log: ${result.log}`);
  }
  process.stderr.write(`${lines.join('\n')}\n`);
}

/** Bytes of each of the guest's streams in a JSON document. */
const COLLECTED_MAX = 64 * 1024 * 1024;

/** Collects a stream's bytes; JSON output carries the guest's in its own members. */
function collector(): { stream: Writable; text: () => string } {
  const chunks: Buffer[] = [];
  let bytes = 0;
  return {
    stream: new Writable({
      write(chunk: Buffer, _encoding, done) {
        // A document has room for the beginning of what a program prints without end.
        if (bytes < COLLECTED_MAX) chunks.push(chunk);
        bytes += chunk.length;
        done();
      },
    }),
    text: () => Buffer.concat(chunks).toString(),
  };
}

function describePlan({ argv, command, accelWhy, machine, image }: RunPlan): string {
  const { manifest } = image;
  return [
    `program  ${argv.join(' ')} (${manifest.program}, ring ${manifest.ring})`,
    `kernel   Linux ${manifest.kernel.version} (${manifest.kernel.flavour})`,
    `files    ${manifest.initramfs.files}, ${manifest.initramfs.bytes} bytes`,
    `accel    ${machine.accel} (${accelWhy})`,
    command,
  ].join('\n');
}

/** The plan as `--dry-run --json` has it. */
function planOf({ argv, command, accelWhy, machine, image }: RunPlan): object {
  const { accel, memoryMiB, cpus, cpu, disks, shares } = machine;
  const { ring, program, kernel } = image.manifest;
  return { argv, command, accel, accelWhy, ring, program, kernel, memoryMiB, cpus, cpu, ports: portsOf(machine), disks, volumes: shares };
}

/** `ukl run` and `ukl dev`: returns the exit status of the tool. */
export async function runCommand(
  target: string,
  options: RunOptions & BuildOptions,
  flags: RunFlags,
  setUp: Interruptible,
  begin: (target: string, options: RunOptions & BuildOptions) => Promise<RunningVm> = run,
): Promise<number> {
  if (flags.dryRun) {
    if (begin === restore) throw new UklError('UKL_USAGE', 'a snapshot has no plan to print', { hint: 'without --dry-run' });
    const plan = await dryRun(target, options);
    if (flags.json) printJson({ ok: true, plan: planOf(plan) });
    else process.stdout.write(`${describePlan(plan)}\n`);
    return EXIT.ok;
  }

  const out = collector();
  const err = collector();
  // A guest that reads nothing must not keep the terminal's input from the shell.
  const stdin = process.stdin.pipe(new PassThrough());
  const running = await begin(target, {
    ...options,
    stdin,
    stdout: flags.json ? out.stream : process.stdout,
    stderr: flags.json ? err.stream : process.stderr,
  });

  // The first signal is the program's; whoever repeats it means the machine.
  let seen = 0;
  const stopSignal = running.plan.image.manifest.run.stopSignal as NodeJS.Signals | undefined;
  const handler = (name: NodeJS.Signals): void => {
    seen++;
    // An image says what asks its program to end.
    if (seen === 1) running.signal(name === 'SIGTERM' ? (stopSignal ?? name) : name);
    else running.kill(name);
  };
  for (const name of SIGNALS) process.on(name, handler);
  setUp.release();
  let result: RunResult;
  try {
    result = await running.result;
  } finally {
    for (const name of SIGNALS) process.off(name, handler);
    process.stdin.unpipe(stdin);
    process.stdin.destroy();
  }
  if (flags.json) {
    printJson({
      ok: result.exitCode === 0,
      exit: result.end,
      exitCode: result.exitCode,
      timings: result.timings,
      stdout: out.text(),
      stderr: err.text(),
      kernelLog: result.kernelLog,
      missingCalls: result.missingCalls,
      log: result.log,
    });
  } else {
    tellEnd(result, flags.quiet === true);
    if (flags.verbose) process.stderr.write(`started after ${result.timings.startMs ?? '?'} ms, ended after ${formatSeconds(result.timings.totalMs)}\n`);
  }
  return result.exitCode;
}
