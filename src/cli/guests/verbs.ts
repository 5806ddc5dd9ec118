// SPDX-License-Identifier: MIT
/** The verbs for guests that run without the tool, and the flags that start one. */
import { Command, Option, type OptionValues } from '@commander-js/extra-typings';
import type { Command as UntypedCommand } from 'commander';
import type { DetachOptions } from '../../detached/detach.js';
import { UklError } from '../../lib/errors.js';
import { count, duration, many, own, patience, positive, variable, whole } from '../flags.js';
import { withGlobals } from '../globals.js';
import type { GlobalOptions } from '../output.js';
import type { Interruptible } from '../run.js';
import { type DownFlags, downCommand, type UpFlags, upCommand } from './compose.js';
import {
  killCommand,
  pauseCommand,
  portCommand,
  psCommand,
  restartCommand,
  rmCommand,
  startCommand,
  statsCommand,
  stopCommand,
  systemdCommand,
  unpauseCommand,
  waitCommand,
} from './lifecycle.js';
import { metricsCommand } from './metrics.js';
import { attachCommand, checkSignal, copyCommand, execCommand, topCommand } from './sessions.js';
import { eventsCommand, logsCommand } from './watch.js';

/** Runs a verb's work, with its end and its errors as those of all verbs. */
export type Handle = (verb: string, flags: GlobalOptions, work: (interruption: Interruptible) => Promise<number>) => Promise<void>;

/** Seconds between health checks, and failures in a row: as docker has them. */
const HEALTH_INTERVAL = 30;
const HEALTH_RETRIES = 3;

export interface DetachFlags {
  readonly detach?: boolean;
  readonly name?: string;
  readonly restart?: string;
  readonly rm?: boolean;
  readonly interactive?: boolean;
  readonly health?: string;
  readonly healthInterval?: number;
  readonly healthRetries?: number;
  readonly cpuLimit?: number;
  readonly stopSignal?: string;
}

/**
 * Flags of `ukl run` that are for a guest which goes on without it. The result's type is said:
 * inferred from ten flags, its declaration takes the compiler gigabytes.
 */
export function withDetachOptions<A extends unknown[], O extends OptionValues>(command: Command<A, O>): Command<A, O & DetachFlags> {
  const untyped = command as unknown as UntypedCommand;
  untyped
    .option('-d, --detach', 'start it, print its name, and leave it running')
    .option('--name <name>', "its name, with -d (the target's)")
    .option('--restart <policy>', 'start it again when it ends: no, on-failure[:n], always or unless-stopped; with -d (no)')
    .option('--rm', 'forget it when it has ended, with -d')
    .option('-i, --interactive', 'keep its standard input open for ukl attach, with -d')
    .option('--health <check>', 'check it: tcp:PORT, http:PORT/path or exec:COMMAND; with -d')
    .option('--health-interval <seconds>', `check it this often (${HEALTH_INTERVAL})`, duration)
    .option('--health-retries <n>', `call it unhealthy after n failures in a row (${HEALTH_RETRIES})`, whole)
    .option('--cpu-limit <n>', "give it so many processors' time, with -d", positive)
    .option('--stop-signal <name>', 'what ukl stop sends to its program, with -d (TERM)', checkSignal);
  return command as unknown as Command<A, O & DetachFlags>;
}

/** The options of a guest that is to be detached; none without -d. Throws UKL_USAGE for flags that mean nothing without it. */
export function detachOptionsOf(flags: DetachFlags): DetachOptions | undefined {
  const { detach, name, restart, rm, interactive, health, healthInterval, healthRetries, cpuLimit, stopSignal } = flags;
  if (!detach) {
    const given = Object.entries({ name, restart, rm, interactive, health, 'cpu-limit': cpuLimit, 'stop-signal': stopSignal }).find(
      ([, value]) => value !== undefined,
    );
    if (given !== undefined) throw new UklError('UKL_USAGE', `--${given[0]} is for a guest that runs by itself`, { hint: 'ukl run -d' });
    return undefined;
  }
  return {
    name,
    restart,
    remove: rm,
    interactive,
    cpuLimit,
    stopSignal,
    ...(health === undefined ? {} : { health: { test: health, intervalSeconds: healthInterval ?? HEALTH_INTERVAL, retries: healthRetries ?? HEALTH_RETRIES } }),
  };
}

/** Adds the verbs to the program. */
export function addGuestVerbs(program: UntypedCommand, handle: Handle): void {
  const verb = (name: string, description: string): Command => {
    const made = new Command(name).description(description);
    program.addCommand(made as unknown as UntypedCommand);
    // As program.command() has it.
    (made as unknown as UntypedCommand).copyInheritedSettings(program);
    return made;
  };

  withGlobals(verb('ps', 'List the guests that run detached.').option('-a, --all', 'those that have ended as well')).action((flags) =>
    handle('ps', flags, () => psCommand(flags)),
  );
  withGlobals(
    verb('logs', 'Print what a guest has printed.')
      .argument('<name>', 'of the guest')
      .option('-f, --follow', 'go on as it prints more, until it ends')
      .option('-n, --lines <n>', 'only the last n lines', count)
      .option('-t, --timestamps', 'with the time of each'),
  ).action((name, flags) => handle('logs', flags, ({ signal }) => logsCommand(name, flags, signal)));
  withGlobals(
    verb('stop', 'End guests: ask the program, and after a time turn the machine off.')
      .argument('[names...]', 'of the guests')
      .option('-t, --time <seconds>', 'how long the program has (10)', patience)
      .option('--at-shutdown', 'all that run; start --at-boot starts them again'),
  ).action((names, flags) => handle('stop', flags, () => stopCommand(names, flags)));
  withGlobals(
    verb('start', 'Start guests that have ended, as they were started first.')
      .argument('[names...]', 'of the guests')
      .option('--at-boot', 'those whose --restart says that they come back with this machine'),
  ).action((names, flags) => handle('start', flags, ({ signal }) => startCommand(names, flags, signal)));
  withGlobals(verb('systemd', 'Print a unit of systemd that starts guests with this machine.')).action((flags) => handle('systemd', flags, systemdCommand));
  withGlobals(
    verb('restart', 'End guests if they run, and start them.')
      .argument('<names...>', 'of the guests')
      .option('-t, --time <seconds>', 'how long the program has to end (10)', patience),
  ).action((names, flags) => handle('restart', flags, ({ signal }) => restartCommand(names, flags, signal)));
  withGlobals(
    verb('kill', 'Send a signal to the programs of guests; KILL turns the machine off.')
      .argument('<names...>', 'of the guests')
      .option('-s, --signal <name>', 'which (KILL)'),
  ).action((names, flags) => handle('kill', flags, () => killCommand(names, flags)));
  withGlobals(
    verb('rm', 'Forget guests that have ended, with their logs.').argument('<names...>', 'of the guests').option('-f, --force', 'kill those that run'),
  ).action((names, flags) => handle('rm', flags, () => rmCommand(names, flags)));
  withGlobals(verb('wait', 'Wait for guests to end, and print their exit statuses.').argument('<names...>', 'of the guests')).action((names, flags) =>
    handle('wait', flags, () => waitCommand(names, flags)),
  );
  withGlobals(verb('pause', 'Stop the processors of guests.').argument('<names...>', 'of the guests')).action((names, flags) =>
    handle('pause', flags, () => pauseCommand(names, flags)),
  );
  withGlobals(verb('unpause', 'Let the processors of guests go on.').argument('<names...>', 'of the guests')).action((names, flags) =>
    handle('unpause', flags, () => unpauseCommand(names, flags)),
  );
  withGlobals(verb('port', 'List the ports of this host that lead to a guest.').argument('<name>', 'of the guest')).action((name, flags) =>
    handle('port', flags, () => portCommand(name, flags)),
  );
  withGlobals(
    verb('stats', 'Show what guests use: processors, memory, network.')
      .argument('[names...]', 'of the guests (all that run)')
      .addOption(new Option('--no-stream', 'once, and not again each second')),
  ).action((names, flags) => handle('stats', flags, ({ signal }) => statsCommand(names, flags, signal)));
  withGlobals(verb('top', 'List the processes of a guest.').argument('<name>', 'of the guest').option('-a, --all', "the kernel's threads as well")).action(
    (name, flags) => handle('top', flags, ({ signal }) => topCommand(name, flags, signal)),
  );
  withGlobals(
    verb('exec', "Run a program beside a guest's own, in ring 3, and exit with its status.")
      .argument('<name>', 'of the guest')
      .argument('[command...]', 'the program and its arguments, after --')
      .option('-e, --env <KEY=VALUE>', 'set a variable', variable)
      .option('-w, --workdir <path>', "its working directory (the program's)")
      .option('-i, --interactive', 'send it standard input')
      .option('-t, --tty', 'give it a terminal, with standard input')
      .option('--bring <program>', 'send a program of this host first, if the guest does not have it', many)
      .passThroughOptions(),
  ).action((name, command, flags) => handle('exec', flags, (interruption) => execCommand(name, own(command), flags, interruption)));
  withGlobals(
    verb('cp', 'Copy files or directories out of a guest, or into it.')
      .argument('<from>', 'name:/path, or a path of this host')
      .argument('<to>', 'the other; - is an archive on standard output'),
  ).action((from, to, flags) => handle('cp', flags, ({ signal }) => copyCommand(from, to, flags, signal)));
  withGlobals(
    verb('attach', "Connect to a guest's streams; Ctrl-C leaves it running.")
      .argument('<name>', 'of the guest')
      .addOption(new Option('--no-stdin', 'do not send it standard input')),
  ).action((name, flags) => handle('attach', flags, (interruption) => attachCommand(name, flags, interruption)));
  withGlobals(
    verb('metrics', 'Print the numbers of all guests in the format of Prometheus, or serve them.')
      .option('--listen <[address:]port>', 'serve them at /metrics until it is interrupted (127.0.0.1)')
      .option('--dashboard', 'print a dashboard for Grafana instead, as it imports it'),
  ).action((flags) => handle('metrics', flags, ({ signal }) => metricsCommand(flags, signal)));
  const file = (): Option => new Option('-f, --file <path>', 'the file, or the directory that it is in').default('.', '.');
  withGlobals(
    verb('up', 'Start the guests of a ukl.compose file, on one network, and print what they print; Ctrl-C ends them.')
      .addOption(file())
      .option('-d, --detach', 'leave them running')
      .option('--recreate', 'start those that run anew'),
  ).action((flags) => handle('up', flags, (interruption) => upCommand(flags as unknown as UpFlags, interruption)));
  withGlobals(
    verb('down', 'End the guests of a ukl.compose file, and forget them.')
      .addOption(file())
      .option('-t, --time <seconds>', 'how long each program has to end (10)', patience)
      .option('-v, --volumes', 'remove the volumes that only have a name as well'),
  ).action((flags) => handle('down', flags, () => downCommand(flags as unknown as DownFlags)));
  withGlobals(
    verb('events', 'Print what happens to guests, as it happens.')
      .option('--past', 'what has happened, and no more')
      .option('-f, --follow', 'with --past: go on with what happens'),
  ).action((flags) => handle('events', flags, ({ signal }) => eventsCommand(flags, signal)));
}
