// SPDX-License-Identifier: MIT
import { Command, CommanderError, InvalidArgumentError, Option, type OptionValues } from '@commander-js/extra-typings';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../lib/paths.js';
import { buildCommand } from './build.js';
import { ccCommand } from './cc.js';
import { cleanCommand } from './clean.js';
import { doctorCommand } from './doctor.js';
import { EXIT } from './exit-codes.js';
import { inspectCommand } from './inspect.js';
import { type GlobalOptions, reportError } from './output.js';
import { type Interruptible, runCommand, SIGNALS } from './run.js';

const many = (word: string, before: string[] = []): string[] => [...before, word];

function positive(text: string): number {
  const number = Number(text);
  if (!Number.isFinite(number) || number <= 0) throw new InvalidArgumentError('expected a number above 0.');
  return number;
}

function processors(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > 64) throw new InvalidArgumentError('expected 1 to 64.');
  return number;
}

function ring(text: string): 0 | 3 {
  if (text !== '0' && text !== '3') throw new InvalidArgumentError('expected 0 or 3.');
  return text === '0' ? 0 : 3;
}

const kernelOption = () => new Option('--kernel <which>', 'ukl, or stock: the same kernel without the series').choices(['ukl', 'stock'] as const);
const formatOption = () => new Option('--format <which>', 'a bzImage, or an ELF with a PVH entry for microVMs').choices(['bzImage', 'elf'] as const).default('bzImage' as const);
const libcOption = () => new Option('--libc <which>', "the C library: ours, with calls for system calls, or the host's").choices(['ukl', 'host'] as const);
const sourceOption = () => new Option('--kernel-source <tarball>', "a linux-6.12.*.tar.* in place of Debian's");

/** Flags that every command has. */
function withGlobals<A extends unknown[], O extends OptionValues>(command: Command<A, O>) {
  return command
    .option('--json', 'one JSON document on standard output')
    .option('-q, --quiet', 'no progress, only results and errors')
    .option('--debug', 'stack traces of errors');
}

/** Ends the work in hand on Ctrl-C: children die, half-made things are removed. */
function interruptible(): Interruptible {
  const controller = new AbortController();
  const abort = (name: NodeJS.Signals): void => controller.abort(name);
  for (const name of SIGNALS) process.once(name, abort);
  return {
    signal: controller.signal,
    release: () => {
      for (const name of SIGNALS) process.off(name, abort);
    },
  };
}

function createProgram(done: (code: number) => void, flagsSeen: (flags: GlobalOptions) => void): Command {
  const version = (JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string }).version;
  const program = new Command('ukl')
    .description('A unikernel that is Linux: runs any x86-64 Linux program in ring 0, as one bootable image.')
    .version(version)
    .showSuggestionAfterError()
    .exitOverride()
    .addHelpText('after', '\nExamples:\n  ukl run examples/hello\n  ukl run /usr/bin/memcached -p 11211:11211 -- -u root\n  ukl build examples/hello && ukl inspect examples/hello\n');

  const handle = (flags: GlobalOptions, work: (interruption: Interruptible) => Promise<number>): Promise<void> => {
    flagsSeen(flags);
    return work(interruptible()).then(done);
  };

  withGlobals(
    program
      .command('run')
      .description('build what is needed, boot it, and have its exit status')
      .argument('[target]', 'a C file, an x86-64 ELF program, a project directory or an image', '.')
      .argument('[args...]', "the program's arguments, after --")
      .option('-p, --publish <host:guest>', 'forward a port of this host', many)
      .option('-e, --env <KEY=VALUE>', 'set a variable of the program', many)
      .option('-M, --memory <size>', 'memory of the guest (256M)')
      .option('-c, --cpus <n>', 'processors of the guest (1)', processors)
      .option('--file <host[:guest]>', 'pack a further file or directory; programs bring their libraries', many)
      .option('--disk <file:/path>', 'mount an ext4 image, created on first use, kept', many)
      .option('--volume <directory:/path>', 'share a directory of this host with the guest', many)
      .option('--timeout <seconds>', 'end the guest after so long, with status 124', positive)
      .addOption(new Option('--accel <how>', 'hardware virtualisation or emulation').choices(['auto', 'kvm', 'tcg'] as const).default('auto' as const))
      .addOption(kernelOption())
      .option('--ring <n>', 'run the program in ring 0 or 3', ring)
      .option('--ring0 <path>', 'a further program of the guest that runs in ring 0', many)
      .addOption(libcOption())
      .addOption(sourceOption())
      .option('--kernel-arg <word>', "add to the kernel's command line", many)
      .option('--icount', 'count instructions: a nanosecond of the guest is one (emulation)')
      .option('--gdb', 'wait for gdb, which then knows the symbols of program and kernel')
      .option('--dry-run', 'print the plan and the exact VMM command')
      .option('-v, --verbose', "show the kernel's own log")
      .allowExcessArguments(),
  ).action((target, args, flags) => handle(flags, (interruption) => runCommand(target, args[0] === '--' ? args.slice(1) : args, flags, interruption)));

  withGlobals(
    program
      .command('build')
      .description('build an image')
      .argument('[target]', 'a C file, an x86-64 ELF program or a project directory', '.')
      .option('-o, --out <path>', "where the image goes (.ukl/NAME.image)")
      .option('--file <host[:guest]>', 'pack a further file or directory', many)
      .addOption(kernelOption())
      .option('--ring <n>', 'run the program in ring 0 or 3', ring)
      .option('--ring0 <path>', 'a further program of the guest that runs in ring 0', many)
      .addOption(formatOption())
      .addOption(libcOption())
      .addOption(sourceOption()),
  ).action((target, flags) => handle(flags, ({ signal }) => buildCommand(target, flags, signal)));

  withGlobals(
    program
      .command('cc')
      .description('compile and link with our C library: gcc, whose programs run in ring 0 with calls for system calls')
      .argument('[args...]', "the compiler's arguments, after --")
      .option('--print', 'only print the path of the compiler, for make CC="$(ukl cc --print)"')
      .option('--cxx', 'the C++ compiler'),
  ).action((args, flags) => handle(flags, ({ signal }) => ccCommand(args[0] === '--' ? args.slice(1) : args, flags, signal)));

  withGlobals(
    program
      .command('inspect')
      .description('what is in an image: sizes, versions, hashes, rings, system calls')
      .argument('[target]', 'an image, or the project it was built from', '.')
      .option('--calls', 'the system calls that its programs can make, and how')
      .option('--sections', 'the sections of its programs and of the kernel'),
  ).action((target, flags) => handle(flags, () => inspectCommand(target, flags)));

  withGlobals(program.command('doctor').description('what this machine has and lacks, and how to mend it')).action((flags) => handle(flags, () => doctorCommand(flags)));

  withGlobals(
    program
      .command('clean')
      .description('remove what was built')
      .argument('[directory]', 'the project', '.')
      .option('--store', 'also the kernels and sources shared by all projects')
      .option('--dry-run', 'only say what would go'),
  ).action((directory, flags) => handle(flags, () => cleanCommand(directory, flags)));

  return program as Command;
}

/** The command line. Returns the exit status; src/cli/exit-codes.ts has the table. */
export async function main(argv: readonly string[]): Promise<number> {
  let code: number = EXIT.ok;
  // Known before parsing fails: errors are JSON for who asked for JSON.
  let flags: GlobalOptions = { json: argv.includes('--json'), debug: argv.includes('--debug') };
  const program = createProgram(
    (status) => {
      code = status;
    },
    (seen) => {
      flags = seen;
    },
  );
  try {
    if (argv.length === 0) {
      program.outputHelp();
      return EXIT.ok;
    }
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error === 'SIGINT' || error === 'SIGTERM' || error === 'SIGHUP') {
      if (!flags.quiet && !flags.json) process.stderr.write('interrupted; the next run goes on from here\n');
      return error === 'SIGINT' ? 130 : error === 'SIGTERM' ? 143 : 129;
    }
    return reportError(error, flags);
  }
}

process.exitCode = await main(process.argv.slice(2));
