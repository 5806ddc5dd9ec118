// SPDX-License-Identifier: MIT

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError, InvalidArgumentError, Option, type OptionValues } from '@commander-js/extra-typings';
import { SUITES } from '../bench/bench.js';
import { dev } from '../dev/dev.js';
import { projectRoot } from '../lib/paths.js';
import { type BenchFlags, benchCommand, compareCommand } from './bench.js';
import { buildCommand } from './build.js';
import { ccCommand } from './cc.js';
import { cleanCommand } from './clean.js';
import { doctorCommand } from './doctor.js';
import { EXIT } from './exit-status.js';
import { initCommand } from './init.js';
import { inspectCommand } from './inspect.js';
import { type GlobalOptions, reportError } from './output.js';
import { type ProfileFlags, profileCommand } from './profile.js';
import { type Interruptible, runCommand, SIGNALS } from './run.js';

const many = (word: string, before: string[] = []): string[] => [...before, word];

function positive(text: string): number {
  const number = Number(text);
  if (!Number.isFinite(number) || number <= 0) throw new InvalidArgumentError('expected a number above 0.');
  return number;
}

function whole(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError('expected 1 or more.');
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
const formatOption = () =>
  new Option('--format <which>', 'a bzImage, or an ELF with a PVH entry for microVMs').choices(['bzImage', 'elf'] as const).default('bzImage' as const);
const libcOption = () => new Option('--libc <which>', "the C library: ours, with calls for system calls, or the host's").choices(['ukl', 'host'] as const);
const sourceOption = () => new Option('--kernel-source <tarball>', "a linux-6.12.*.tar.* in place of Debian's");
const optionsOption = () => new Option('--kernel-config <file>', 'build the kernel with further options: lines like CONFIG_XFS_FS=y');

/** Flags that every command has. */
function withGlobals<A extends unknown[], O extends OptionValues>(command: Command<A, O>) {
  return command
    .option('--json', 'one JSON document on standard output')
    .option('-q, --quiet', 'no progress, only results and errors')
    .option('--debug', 'stack traces of errors');
}

/** Flags of commands that start a guest. */
function withRunOptions<A extends unknown[], O extends OptionValues>(command: Command<A, O>) {
  return withGlobals(
    command
      .option('-p, --publish <host:guest>', 'forward a port of this host', many)
      .option('-e, --env <KEY=VALUE>', 'set a variable of the program', many)
      .option('-M, --memory <size>', 'memory of the guest (256M; 512M for Node.js)')
      .option('-c, --cpus <n>', 'processors of the guest (1)', processors)
      .option('--cpu <model>', "QEMU's model of the processor, as EPYC (max, or host with KVM)")
      .option('--file <host[:guest]>', 'pack a further file or directory; programs bring their libraries', many)
      .option('--disk <file:/path>', 'mount an ext4 image, created on first use, kept', many)
      .option('--volume <directory:/path>', 'share a directory of this host with the guest; also -v directory:/path', many)
      .addOption(new Option('--network <how>', 'let DHCP give the guest its addresses, or give it none').choices(['dhcp', 'none'] as const))
      .option('--timeout <seconds>', 'end the guest after so long, with status 124', positive)
      .addOption(new Option('--accel <how>', 'hardware virtualisation or emulation').choices(['auto', 'kvm', 'tcg'] as const).default('auto' as const))
      .addOption(kernelOption())
      .option('--ring <n>', 'run the program in ring 0 or 3', ring)
      .option('--ring0 <path>', 'a further program of the guest that runs in ring 0', many)
      .addOption(libcOption())
      .option('--no-check', 'run a TypeScript program in spite of type errors')
      .addOption(sourceOption())
      .addOption(optionsOption())
      .option('--kernel-arg <word>', "add to the kernel's command line", many)
      .option('--icount', 'count instructions: a nanosecond of the guest is one (emulation)')
      .option('--gdb', 'wait for gdb, which then knows the symbols of program and kernel')
      .option('--dry-run', 'print the plan and the exact VMM command')
      .option('-v, --verbose', "show the kernel's own log")
      .allowExcessArguments(),
  );
}

/**
 * `-v` shows the kernel's log, but before a word like ./data:/data it can only
 * mean what it means in container tools: a volume. After `--`, words are the
 * program's.
 */
function withVolumes(argv: readonly string[]): string[] {
  const end = argv.includes('--') ? argv.indexOf('--') : argv.length;
  return argv.map((word, index) => (word === '-v' && index < end && /^[^-].*:\//.test(argv[index + 1] ?? '') ? '--volume' : word));
}

/** What follows the target belongs to the program; the dashes do not. */
const own = (args: readonly string[]): readonly string[] => (args[0] === '--' ? args.slice(1) : args);

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
    .enablePositionalOptions()
    .exitOverride()
    .addHelpText(
      'after',
      '\nExamples:\n  ukl run examples/hello\n  ukl run /usr/bin/memcached -p 11211:11211 -- -u root\n  ukl build examples/hello && ukl inspect examples/hello\n',
    );

  const handle = (flags: GlobalOptions, work: (interruption: Interruptible) => Promise<number>): Promise<void> => {
    flagsSeen(flags);
    return work(interruptible()).then(done);
  };

  withRunOptions(
    program
      .command('run')
      .description('build what is needed, boot it, and have its exit status')
      .argument('[target]', 'a C, TypeScript or JavaScript file, an x86-64 ELF program, a project directory or an image', '.')
      .argument('[args...]', "the program's arguments, after --"),
  ).action((target, args, flags) => handle(flags, (interruption) => runCommand(target, own(args), flags, interruption)));

  withRunOptions(
    program
      .command('dev')
      .description('run a TypeScript or JavaScript program, and each new version of it as it is saved')
      .argument('[target]', 'a TypeScript or JavaScript file, or a project directory', '.')
      .argument('[args...]', "the program's arguments, after --"),
  ).action((target, args, flags) => handle(flags, (interruption) => runCommand(target, own(args), flags, interruption, dev)));

  withGlobals(
    program
      .command('build')
      .description('build an image')
      .argument('[target]', 'a C, TypeScript or JavaScript file, an x86-64 ELF program or a project directory', '.')
      .option('-o, --out <path>', 'where the image goes (.ukl/NAME.image)')
      .option('--file <host[:guest]>', 'pack a further file or directory', many)
      .addOption(kernelOption())
      .option('--ring <n>', 'run the program in ring 0 or 3', ring)
      .option('--ring0 <path>', 'a further program of the guest that runs in ring 0', many)
      .addOption(formatOption())
      .addOption(libcOption())
      .option('--no-check', 'run a TypeScript program in spite of type errors')
      .addOption(sourceOption())
      .addOption(optionsOption()),
  ).action((target, flags) => handle(flags, ({ signal }) => buildCommand(target, flags, signal)));

  withGlobals(
    program
      .command('cc')
      .description('compile and link with our C library: gcc, whose programs run in ring 0 with calls for system calls')
      .argument('[args...]', "the compiler's arguments, after --")
      .option('--print', 'only print the path of the compiler, for make CC="$(ukl cc --print)"')
      .option('--cxx', 'the C++ compiler'),
  ).action((args, flags) => handle(flags, ({ signal }) => ccCommand(own(args), flags, signal)));

  withGlobals(
    program
      .command('inspect')
      .description('what is in an image: sizes, versions, hashes, rings, system calls')
      .argument('[target]', 'an image, or the project it was built from', '.')
      .option('--calls', 'the system calls that its programs can make, and how')
      .option('--sections', 'the sections of its programs and of the kernel'),
  ).action((target, flags) => handle(flags, () => inspectCommand(target, flags)));

  withGlobals(program.command('init').description('write a TypeScript project that runs').argument('[directory]', 'where it goes', '.')).action(
    (directory, flags) => handle(flags, () => initCommand(directory, flags)),
  );

  const benchVerb = program
    .command('bench')
    .description('measure side by side: the stock kernel, ring 3 and ring 0')
    .argument('[suites...]', `which (all): ${SUITES.map(({ name }) => name).join(', ')}`)
    .option('--rounds <n>', 'how often each is measured', whole, 5)
    .option('--report <file>', 'one HTML page with charts, tables and the numbers', 'bench.html')
    .option('--json [file]', 'the numbers, in a file or on standard output')
    .option('-q, --quiet', 'no progress, only results and errors')
    .option('--debug', 'stack traces of errors')
    .action((suites, flags) => handle({ ...flags, json: flags.json === true }, ({ signal }) => benchCommand(suites, flags as BenchFlags, signal)));

  benchVerb.enablePositionalOptions(); // what follows "compare" is its own
  withGlobals(
    benchVerb
      .command('compare')
      .description('two results: what became better, what worse')
      .argument('<before>', 'a file of ukl bench --json')
      .argument('<after>', 'a newer one'),
  ).action((before, after, flags) => handle(flags, () => compareCommand(before, after, flags)));

  withRunOptions(
    program
      .command('profile')
      .description("where the guest's instructions go, in the program and in the kernel, as a flame graph")
      .argument('[target]', 'as for run', '.')
      .argument('[args...]', "the program's arguments, after --")
      .option('--load <command>', 'a command of this host that gives a server work; $PORT leads to the guest. Without it, the whole run is measured')
      .option('--count <n>', 'how many requests the load makes: the table is then per request', whole)
      .option('--seconds <n>', 'measure for so long at most', positive)
      .option('--report <file>', 'where the flame graph goes (profile.html)'),
  ).action((target, args, flags) => handle(flags, ({ signal }) => profileCommand(target, own(args), flags as ProfileFlags, signal)));

  withGlobals(program.command('doctor').description('what this machine has and lacks, and how to mend it')).action((flags) =>
    handle(flags, () => doctorCommand(flags)),
  );

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

/** The command line. Returns the exit status; src/cli/exit-status.ts has the table. */
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
    await program.parseAsync(withVolumes(argv), { from: 'user' });
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
