// SPDX-License-Identifier: MIT

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import tab from '@bomb.sh/tab/commander';
import { Command, CommanderError, Option, type OptionValues } from '@commander-js/extra-typings';
import type { Command as UntypedCommand } from 'commander';
import { SUITES } from '../bench/bench.js';
import { platforms } from '../deploy/index.js';
import { isGuest } from '../detached/record.js';
import { dev } from '../dev/dev.js';
import { asUklError, UklError } from '../lib/errors.js';
import { projectRoot } from '../lib/paths.js';
import { EXIT, statusOfError, statusOfSignal } from '../model/exit-status.js';
import type { BuildOptions, RunOptions } from '../options/given.js';
import type { Scope } from '../options/option.js';
import { restore } from '../run/snapshot.js';
import { type BenchFlags, benchCommand, compareCommand } from './bench.js';
import { type BuildFlags, buildCommand } from './build.js';
import { ccCommand } from './cc.js';
import { cleanCommand } from './clean.js';
import { type DeployFlags, deployCommand } from './deploy.js';
import { doctorCommand } from './doctor.js';
import { count, duration, flagsOf, givenBy, own, port, type RawFlags, setting, whole, withChoices } from './flags.js';
import { buildFunctionsCommand, type FunctionFlags, gatewayCommand, serveFunctionsCommand } from './functions.js';
import { withGlobals } from './globals.js';
import { detachCommand, inspectGuest } from './guests/lifecycle.js';
import { addGuestVerbs, type DetachFlags, detachOptionsOf, withDetachOptions } from './guests/verbs.js';
import { initCommand } from './init.js';
import { inspectCommand } from './inspect.js';
import { type GlobalOptions, logFor, printJson, reportError } from './output.js';
import { type ProfileFlags, profileCommand } from './profile.js';
import { pullCommand, pushCommand } from './push.js';
import { type Interruptible, runCommand, SIGNALS } from './run.js';
import { listCommand, removeCommand, type SaveFlags, saveCommand } from './snapshot.js';

/** Flags of the table of options. */
function withOptions<A extends unknown[], O extends OptionValues>(command: Command<A, O>, ...scopes: readonly Scope[]): Command<A, O> {
  for (const flag of flagsOf(...scopes)) command.addOption(flag);
  return command;
}

/** Flags of commands that start a guest. */
function withRunOptions<A extends unknown[], O extends OptionValues>(command: Command<A, O>) {
  return withGlobals(withOptions(command, 'run', 'build').option('--dry-run', 'print the plan and the exact VMM command').allowExcessArguments());
}

/**
 * `-v` shows the kernel's log, but before a word like ./data:/data it can only
 * mean what it means in container tools: a volume. `--fit` is short for
 * `--profile fit`. After `--`, words are the program's.
 */
function withShorthands(argv: readonly string[]): string[] {
  const end = argv.includes('--') ? argv.indexOf('--') : argv.length;
  return argv.flatMap((word, index) => {
    if (index >= end) return [word];
    if (word === '--fit') return ['--profile', 'fit'];
    return [word === '-v' && /^[^-].*:\//.test(argv[index + 1] ?? '') ? '--volume' : word];
  });
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

function createProgram(done: (code: number) => void, begun: (verb: string, flags: GlobalOptions) => void): Command {
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

  const handle = (verb: string, flags: GlobalOptions, work: (interruption: Interruptible) => Promise<number>): Promise<void> => {
    begun(verb, flags);
    return work(interruptible()).then(done);
  };

  const buildOptions = (flags: GlobalOptions, signal: AbortSignal): BuildOptions => ({ ...givenBy(flags as RawFlags, 'build'), log: logFor(flags), signal });
  const runOptions = (flags: GlobalOptions, args: readonly string[], signal: AbortSignal): RunOptions & BuildOptions => ({
    ...buildOptions(flags, signal),
    ...givenBy(flags as RawFlags, 'run'),
    args: own(args),
  });

  withDetachOptions(
    withRunOptions(
      program
        .command('run')
        .description("Build the target if needed, boot it, and exit with the program's status.")
        .argument('[target]', 'a C, TypeScript or JavaScript file, an x86-64 ELF program, a project directory, an image or a container image', '.')
        .argument('[args...]', "the program's arguments, after --")
        .option('--from-snapshot <name>', 'go on from a guest that was saved, in place of a target'),
    ),
  ).action((target, args, flags) =>
    handle('run', flags, (interruption) => {
      const options = runOptions(flags, args, interruption.signal);
      const { fromSnapshot } = flags;
      const detached = detachOptionsOf(flags as DetachFlags);
      if (fromSnapshot !== undefined && target !== '.')
        throw new UklError('UKL_USAGE', `a snapshot has its own program: ${target} cannot be another`, { hint: '-- before arguments' });
      if (detached !== undefined) return detachCommand(fromSnapshot === undefined ? target : { fromSnapshot }, { ...options, ...detached }, flags);
      if (fromSnapshot === undefined) return runCommand(target, options, flags, interruption);
      return runCommand(fromSnapshot, options, flags, interruption, restore);
    }),
  );

  const snapshot = program.command('snapshot').description('Save guests that are ready, and start others from that.').enablePositionalOptions();
  withGlobals(
    withOptions(
      snapshot
        .command('save')
        .description('Save a guest that runs detached, which goes on; or boot a target, save it once it is ready, and end it.')
        .argument('[target]', 'the name of a guest, or a target as for run', '.')
        .argument('[args...]', "behind a guest, the snapshot's name (the guest's); behind a target and --, the program's arguments")
        .option('--name <name>', "the snapshot's name; a target's takes the place of one that has it")
        .option('--ready <port>', "save once something listens on this port (the image's first); a program may also say it itself", whole),
      'run',
      'build',
    ).allowExcessArguments(),
  ).action((target, args, flags) => handle('snapshot', flags, ({ signal }) => saveCommand(target, runOptions(flags, args, signal), flags as SaveFlags)));
  withGlobals(snapshot.command('ls').description('List the snapshots, with their sizes.')).action((flags) =>
    handle('snapshot', flags, () => listCommand(flags)),
  );
  withGlobals(snapshot.command('rm').description('Remove snapshots.').argument('<names...>', 'their names')).action((names, flags) =>
    handle('snapshot', flags, () => removeCommand(names, flags)),
  );
  withRunOptions(
    snapshot
      .command('restore')
      .description('Go on from a snapshot: ukl run --from-snapshot.')
      .argument('<name>', 'its name')
      .argument('[args...]', "the instance's arguments, after --, for a program that asks"),
  ).action((name, args, flags) =>
    handle('run', flags, (interruption) => runCommand(name, runOptions(flags, args, interruption.signal), flags, interruption, restore)),
  );

  withRunOptions(
    program
      .command('dev')
      .description('Run a TypeScript or JavaScript program, and each new version as it is saved.')
      .argument('[target]', 'a TypeScript or JavaScript file, or a project directory', '.')
      .argument('[args...]', "the program's arguments, after --"),
  ).action((target, args, flags) =>
    handle('dev', flags, (interruption) => runCommand(target, runOptions(flags, args, interruption.signal), flags, interruption, dev)),
  );

  withGlobals(
    withOptions(
      program
        .command('build')
        .description('Build an image.')
        .argument('[target]', 'a C, TypeScript or JavaScript file, an x86-64 ELF program, a project directory or a container image', '.')
        .option('-o, --out <path>', 'write the image to this file (.ukl/NAME.image)')
        .option('--optimize', 'compile the kernel for what the program does under --load')
        .option('--load <command>', 'give the server work, with the port in $PORT; for --optimize'),
      'build',
    ),
  ).action((target, flags) =>
    handle('build', flags, ({ signal }) => buildCommand(target, { ...buildOptions(flags, signal), out: flags.out }, flags as BuildFlags)),
  );

  withGlobals(
    withOptions(
      program
        .command('deploy')
        .description('Build an image for a cloud, a hypervisor or a cluster, and start it there by its own tools.')
        .argument('[target]', 'as for build', '.')
        .addOption(withChoices(new Option('--to <platform>', 'where to'), platforms.names).makeOptionMandatory())
        .option('--name <name>', "the machine's name there (the target's)")
        .option('--set <key=value>', 'tell the platform something: a bucket, a region; repeat it', setting)
        .option('--replace', 'take the place of a machine that has the name there')
        .option('--dry-run', 'print the commands and files, and do nothing'),
      'build',
    ),
  ).action((target, flags) => handle('deploy', flags, ({ signal }) => deployCommand(target, buildOptions(flags, signal), flags as DeployFlags)));

  withGlobals(
    program
      .command('push')
      .description('Push an image to a registry, an image layout or an archive.')
      .argument('<image>', 'an image that ukl built, or where a container image is')
      .argument('<reference>', 'HOST[:PORT]/NAME[:TAG], oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE'),
  ).action((image, reference, flags) => handle('push', flags, ({ signal }) => pushCommand(image, reference, flags, signal)));

  withGlobals(
    program
      .command('pull')
      .description('Pull an image: a unikernel into a file that boots, any other into the store.')
      .argument('<reference>', 'HOST[:PORT]/NAME[:TAG], oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE')
      .option('-o, --out <path>', 'write it here (NAME.image): with .tar, as an archive; a container image, as a layout'),
  ).action((reference, flags) => handle('pull', flags, ({ signal }) => pullCommand(reference, flags, signal)));

  withGlobals(
    program
      .command('cc')
      .description('Compile and link with our C library: gcc whose programs make system calls by calls in ring 0.')
      .argument('[args...]', "the compiler's arguments, after --")
      .option('--print', 'print the path of the compiler, for make CC="$(ukl cc --print)"')
      .option('--cxx', 'use the C++ compiler'),
  ).action((args, flags) => handle('cc', flags, ({ signal }) => ccCommand(own(args), flags, signal)));

  withGlobals(
    program
      .command('inspect')
      .description('List what is in an image: sizes, versions, hashes, rings, system calls; or all that is known of a guest, as JSON.')
      .argument('[target]', 'an image, the project it was built from, or the name of a guest', '.')
      .option('--calls', 'list the system calls that its programs can make, and how')
      .option('--sections', 'list the sections of its programs and of the kernel'),
  ).action((target, flags) => handle('inspect', flags, async () => ((await isGuest(target)) ? inspectGuest(target) : inspectCommand(target, flags))));

  addGuestVerbs(program as unknown as UntypedCommand, handle);

  withGlobals(program.command('init').description('Write a TypeScript project that runs.').argument('[directory]', 'where it goes', '.')).action(
    (directory, flags) => handle('init', flags, () => initCommand(directory, flags)),
  );

  const benchVerb = program
    .command('bench')
    .description('Measure side by side: the stock kernel, ring 3 and ring 0.')
    .argument('[suites...]', `which (all): ${SUITES.map(({ name }) => name).join(', ')}`)
    .option('--rounds <n>', 'measure each variant N times', whole, 5)
    .option('--report <file>', 'write one HTML page with charts, tables and the numbers', 'bench.html')
    .option('--json [file]', 'print the numbers as JSON, to a file or to standard output')
    .option('-q, --quiet', 'print no progress, only results and errors')
    .option('--debug', 'print stack traces of errors')
    .action((suites, flags) => handle('bench', { ...flags, json: flags.json === true }, ({ signal }) => benchCommand(suites, flags as BenchFlags, signal)));

  benchVerb.enablePositionalOptions(); // what follows "compare" is its own
  withGlobals(
    benchVerb
      .command('compare')
      .description('Compare two results; exit with 1 if something became worse.')
      .argument('<before>', 'a file of ukl bench --json')
      .argument('<after>', 'a newer one'),
  ).action((before, after, flags) => handle('bench', flags, () => compareCommand(before, after, flags)));

  withRunOptions(
    program
      .command('profile')
      .description('Count the instructions of the guest by function, and draw a flame graph.')
      .argument('[target]', 'as for run', '.')
      .argument('[args...]', "the program's arguments, after --")
      .option('--load <command>', 'run this command against a server, with the port in $PORT; without it, measure the whole run')
      .option('--count <n>', 'divide by the N requests that the load makes', whole)
      .option('--seconds <n>', 'measure for at most N seconds', duration)
      .option('--report <file>', 'write the flame graph to this file (profile.html)'),
  ).action((target, args, flags) => handle('profile', flags, ({ signal }) => profileCommand(target, runOptions(flags, args, signal), flags as ProfileFlags)));

  const functions = program
    .command('functions')
    .description('Serve functions by HTTP, each request in a guest that goes on from a snapshot.')
    .enablePositionalOptions();
  const FUNCTIONS = 'files called NAME.function.ts, projects whose ukl.config has a function, and directories of them';
  withGlobals(functions.command('build').description('Build the functions, and save a guest of each.').argument('[functions...]', FUNCTIONS, ['.'])).action(
    (paths, flags) => handle('functions', flags, ({ signal }) => buildFunctionsCommand(paths, flags, signal)),
  );
  for (const [verb, description] of [
    ['serve', 'Serve the functions until a signal.'],
    ['dev', 'Serve the functions, and each new version as it is saved.'],
  ] as const) {
    withGlobals(
      functions
        .command(verb)
        .description(description)
        .argument('[functions...]', FUNCTIONS, ['.'])
        .option('--port <n>', 'listen on this port (8080); 0 is any that is free', port, 8080)
        .option('--address <address>', 'listen on this address of the host (127.0.0.1)')
        .option('--status-port <n>', 'have the status page and the metrics on this port of 127.0.0.1 (any that is free)', port)
        .option('--warm <n>', 'keep N instances waiting for each function that is in use (1)', count)
        .option('--max <n>', 'run at most N instances at once (20)', whole)
        .option('--lazy', 'build a function when it is asked first')
        .option('--secrets <file>', 'give functions the secrets in this JSON file: {"function": {"NAME": "value"}}'),
    ).action((paths, flags) =>
      handle('functions', flags, (interruption) => serveFunctionsCommand(paths, flags as FunctionFlags, interruption, verb === 'dev')),
    );
  }

  withGlobals(
    functions
      .command('gateway')
      .description('Serve functions that run elsewhere, until a signal.')
      .requiredOption('--backends <file>', 'where they are, and their options: {"hello": {"url": "http://hello:8080"}}')
      .option('--port <n>', 'listen on this port (8080); 0 is any that is free', port, 8080)
      .option('--address <address>', 'listen on this address of the host (127.0.0.1)')
      .option('--status-port <n>', 'have the status page and the metrics on this port (any that is free)', port)
      .option('--status-address <address>', 'and on this address of the host (127.0.0.1)'),
  ).action((flags) => handle('functions', flags, (interruption) => gatewayCommand(flags as unknown as FunctionFlags, interruption)));

  withGlobals(program.command('doctor').description('Check this machine and show how to fix what is missing.')).action((flags) =>
    handle('doctor', flags, () => doctorCommand(flags)),
  );

  withGlobals(
    program
      .command('clean')
      .description('Remove what was built.')
      .argument('[directory]', 'the project', '.')
      .option('--store', 'also remove the kernels and sources that all projects share')
      .option('--dry-run', 'print what would be removed, and keep it'),
  ).action((directory, flags) => handle('clean', flags, () => cleanCommand(directory, flags)));

  // Completion reads commander's own tables; its types are those of the untyped package.
  tab(program as unknown as UntypedCommand);
  return program as Command;
}

/** The command line. Returns the exit status; src/model/exit-status.ts has the table. */
export async function main(argv: readonly string[]): Promise<number> {
  let code: number = EXIT.ok;
  // Known before parsing fails: with --json, an error is JSON as well.
  let verb = '';
  let flags: GlobalOptions = { json: argv.includes('--json'), debug: argv.includes('--debug') };
  const program = createProgram(
    (status) => {
      code = status;
    },
    (name, seen) => {
      verb = name;
      flags = seen;
    },
  );
  try {
    if (argv.length === 0) {
      program.outputHelp();
      return EXIT.ok;
    }
    await program.parseAsync(withShorthands(argv), { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT.ok;
      if (flags.json) reportError(new UklError('UKL_USAGE', error.message.replace(/^error: /, ''), { hint: 'ukl --help' }), flags);
      return EXIT.usage;
    }
    if (error === 'SIGINT' || error === 'SIGTERM' || error === 'SIGHUP') {
      if (flags.json) printJson({ ok: false, exit: { kind: 'interrupted', signal: error }, exitCode: statusOfSignal(error) });
      else if (!flags.quiet) process.stderr.write('interrupted; the next run goes on from here\n');
      return statusOfSignal(error);
    }
    reportError(error, flags);
    return statusOfError(verb, asUklError(error).code);
  }
}
