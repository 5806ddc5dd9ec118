// SPDX-License-Identifier: MIT
import { constants } from 'node:os';
import { PassThrough, Writable } from 'node:stream';
import pc from 'picocolors';
import { UklError } from '../lib/errors.js';
import { formatSeconds } from '../lib/log.js';
import type { RunEnd, RunResult } from '../model/index.js';
import { type BuildOptions, dryRun, type RunningVm, type RunOptions, run } from '../sdk/index.js';
import { type BuildFlags, toBuildOptions } from './build.js';
import { printJson } from './output.js';

export type RunFlags = BuildFlags & {
  readonly publish?: string[];
  readonly env?: string[];
  readonly memory?: string;
  readonly cpus?: number;
  readonly cpu?: string;
  readonly disk?: string[];
  readonly volume?: string[];
  readonly network?: 'dhcp' | 'none';
  readonly timeout?: number;
  readonly accel: 'auto' | 'kvm' | 'tcg';
  readonly kernelArg?: string[];
  readonly dryRun?: boolean;
  readonly icount?: boolean;
  readonly gdb?: boolean;
};

/** The signals that end the tool's work, and are the program's once it runs. */
export const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Aborts on a signal until it is released. */
export interface Interruptible {
  readonly signal: AbortSignal;
  release(): void;
}

function parseEnv(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const equals = word.indexOf('=');
      if (equals > 0) return [word.slice(0, equals), word.slice(equals + 1)];
      const inherited = process.env[word];
      if (equals === 0 || inherited === undefined) {
        throw new UklError('UKL_USAGE', `expected -e KEY=VALUE, or the name of a variable that is set, got '${word}'`);
      }
      return [word, inherited];
    }),
  );
}

export function toOptions(flags: RunFlags, args: readonly string[], signal: AbortSignal): RunOptions & BuildOptions {
  return {
    ...toBuildOptions(flags, signal),
    args,
    env: parseEnv(flags.env ?? []),
    ports: flags.publish ?? [],
    disks: flags.disk ?? [],
    volumes: flags.volume ?? [],
    accel: flags.accel,
    kernelArgs: flags.kernelArg ?? [],
    verbose: flags.verbose === true,
    icount: flags.icount === true,
    gdb: flags.gdb === true,
    ...(flags.memory === undefined ? {} : { memory: flags.memory }),
    ...(flags.cpus === undefined ? {} : { cpus: flags.cpus }),
    ...(flags.cpu === undefined ? {} : { cpu: flags.cpu }),
    ...(flags.network === undefined ? {} : { network: flags.network }),
    ...(flags.timeout === undefined ? {} : { timeoutSeconds: flags.timeout }),
  };
}

function signalName(number: number): string {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? `signal ${number}`;
}

/** What happened, for people; nothing for a program that simply exited. */
export function describeEnd(end: RunEnd): string | undefined {
  switch (end.kind) {
    case 'exit':
      return undefined;
    case 'signal': {
      const fault = end.fault
        ? `: ${end.fault.address ? `address ${end.fault.address}, ` : ''}at ${end.fault.symbol ?? end.fault.ip}`
        : end.outOfMemory
          ? ': the guest ran out of memory (give it more with -M)'
          : '';
      return `the program was killed by ${signalName(end.signal)}${fault}`;
    }
    case 'timeout':
      return `the guest was ended after --timeout ${end.seconds} s${end.where ? ` (processors were at ${end.where})` : ''}`;
    case 'interrupted':
      return `interrupted by ${end.signal}`;
    case 'panic':
      return `the guest's kernel died: ${end.message}`;
    case 'triple-fault':
      return 'the guest reset itself without a word (a triple fault)';
    case 'reboot':
      return 'the guest was restarted or turned off from within (reboot())';
    case 'guest-setup':
      return `the guest could not be set up: ${end.message}`;
    case 'vmm':
      return end.message;
  }
}

function tellEnd(result: RunResult, quiet: boolean): void {
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

/** Collects a stream's bytes; JSON output carries the guest's in its own members. */
function collector(): { stream: Writable; text: () => string } {
  const chunks: Buffer[] = [];
  return {
    stream: new Writable({
      write(chunk: Buffer, _encoding, done) {
        chunks.push(chunk);
        done();
      },
    }),
    text: () => Buffer.concat(chunks).toString(),
  };
}

/** `ukl run` and `ukl dev`: returns the exit status of the tool. */
export async function runCommand(
  target: string,
  args: readonly string[],
  flags: RunFlags,
  setUp: Interruptible,
  begin: (target: string, options: RunOptions & BuildOptions) => Promise<RunningVm> = run,
): Promise<number> {
  const options = toOptions(flags, args, setUp.signal);
  if (flags.dryRun) {
    const plan = await dryRun(target, options);
    const { argv, command, accelWhy, qemu, image } = plan;
    if (flags.json)
      printJson({
        ok: true,
        plan: {
          argv,
          command,
          accel: qemu.accel,
          accelWhy,
          ring: image.manifest.ring,
          program: image.manifest.program,
          kernel: image.manifest.kernel,
          memoryMiB: qemu.memoryMiB,
          cpus: qemu.cpus,
          cpu: qemu.cpu,
          ports: qemu.ports,
          disks: qemu.disks,
          volumes: qemu.volumes,
        },
      });
    else {
      process.stdout.write(
        `${[
          `program  ${argv.join(' ')} (${image.manifest.program}, ring ${image.manifest.ring})`,
          `kernel   Linux ${image.manifest.kernel.version} (${image.manifest.kernel.flavour})`,
          `files    ${image.manifest.initramfs.files}, ${image.manifest.initramfs.bytes} bytes`,
          `accel    ${qemu.accel} (${accelWhy})`,
          command,
        ].join('\n')}\n`,
      );
    }
    return 0;
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
  const handler = (name: NodeJS.Signals): void => {
    seen++;
    if (seen === 1) running.signal(name);
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
      log: result.log,
    });
  } else {
    tellEnd(result, flags.quiet === true);
    if (flags.verbose) process.stderr.write(`started after ${result.timings.startMs ?? '?'} ms, ended after ${formatSeconds(result.timings.totalMs)}\n`);
  }
  return result.exitCode;
}
