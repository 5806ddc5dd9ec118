// SPDX-License-Identifier: MIT
/** The command line of an OCI runtime, as container engines call it: runc's, as far as a machine has a use for it. */
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from '@commander-js/extra-typings';
import { beginSession, lendStreams, programFor, requestOf } from '../bundle/exec.js';
import { create, execDetached, kill, pause, pids, remove, resume, start } from '../bundle/lifecycle.js';
import { containers, Place, readRecord, stateOf, statusOf, usualRoot } from '../bundle/record.js';
import { HOOKS, OCI_VERSIONS } from '../bundle/spec.js';
import { asUklError, errnoOf } from '../lib/errors.js';
import { type Log, silentLog } from '../lib/log.js';
import { projectRoot } from '../lib/paths.js';
import { EXIT } from '../model/exit-status.js';

type Globals = {
  readonly root?: string | undefined;
  readonly log?: string | undefined;
  readonly logFormat?: string | undefined;
};

type Level = 'error' | 'warning';

/** A line for who reads the log: engines take the last one for the reason of a failure. */
function lineOf(level: Level, msg: string, format: string | undefined): string {
  const time = new Date().toISOString();
  return format === 'json' ? JSON.stringify({ level, msg, time }) : `time="${time}" level=${level} msg=${JSON.stringify(msg)}`;
}

function say(level: Level, message: string, { log, logFormat }: Globals): void {
  process.stderr.write(`ukl-oci: ${message}\n`);
  if (log === undefined || log === '' || log === '/dev/stderr') return;
  try {
    appendFileSync(log, `${lineOf(level, message, logFormat)}\n`);
  } catch (error) {
    process.stderr.write(`ukl-oci: ${log} cannot be written: ${errnoOf(error)}\n`);
  }
}

const print = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);

/** What the runtime can do (features.md of the specification). */
const features = {
  ociVersionMin: OCI_VERSIONS.min,
  ociVersionMax: OCI_VERSIONS.max,
  hooks: HOOKS,
  mountOptions: ['bind', 'rbind', 'ro', 'rw'],
  linux: {
    namespaces: ['network'],
    cgroup: { v1: true, v2: true, systemd: false },
    seccomp: { enabled: false },
    apparmor: { enabled: false },
    selinux: { enabled: false },
  },
  annotations: { 'org.ukl.vm': 'true' },
};

function addLifecycle(program: Command<[], Globals>, place: (id: string) => Place, log: () => Log, done: (code: number) => void): void {
  program
    .command('create')
    .description("Make a container's machine, up to a process that waits to be started.")
    .argument('<id>')
    .option('-b, --bundle <directory>', 'where its config.json is', '.')
    .option('--pid-file <file>', 'gets the number of its process')
    .option('--console-socket <path>', "gets the other end of its program's terminal")
    .option('--preserve-fds <n>', 'accepted: a guest has no files of this host')
    .option('--no-pivot', 'accepted')
    .option('--no-new-keyring', 'accepted')
    .action(async (id, { bundle, pidFile, consoleSocket }) => {
      await create(place(id), bundle, { pidFile, consoleSocket, log: log() });
    });
  program
    .command('start')
    .description('Boot it, and return once its program runs.')
    .argument('<id>')
    .action((id) => start(place(id), log()));
  program
    .command('state')
    .description('Print its state as JSON.')
    .argument('<id>')
    .action(async (id) => print(stateOf(await readRecord(place(id)))));
  program
    .command('kill')
    .description('Send its program a signal; KILL ends the machine.')
    .argument('<id>')
    .argument('[signal]', 'its name or number', 'TERM')
    .option('-a, --all', 'all of its processes, which may be none')
    .action((id, signal, { all }) => kill(place(id), signal, all === true));
  program
    .command('delete')
    .description('Forget one that has stopped.')
    .argument('<id>')
    .option('-f, --force', 'end it first, if need be')
    .action((id, { force }) => remove(place(id), force === true, log()));
  program
    .command('pause')
    .description("Stop its machine's processors.")
    .argument('<id>')
    .action((id) => pause(place(id)));
  program
    .command('resume')
    .description('Let them go on.')
    .argument('<id>')
    .action((id) => resume(place(id)));
  program
    .command('exec')
    .description('Run a further program in it, in ring 3.')
    .argument('<id>')
    .argument('[program...]')
    .option('-p, --process <file>', 'process.json, in place of words')
    .option('-d, --detach', 'return once it runs')
    .option('--pid-file <file>', "gets the number of the program's process on this host")
    .option('--console-socket <path>', 'gets the other end of its terminal')
    .option('-t, --tty', 'give it a terminal')
    .option('-e, --env <KEY=VALUE>', 'set a variable', (word: string, all: string[] | undefined) => [...(all ?? []), word])
    .option('--cwd <directory>', 'where it runs')
    .option('-u, --user <uid[:gid]>', 'who it runs as')
    .option('--preserve-fds <n>', 'accepted: a guest has no files of this host')
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (id, args, { process: file, detach, pidFile, consoleSocket, tty, env, cwd, user }) => {
      const chosen = await programFor(place(id), file, { args, env, cwd, user, tty });
      if (detach || consoleSocket !== undefined) {
        await execDetached(place(id), chosen, { pidFile, consoleSocket, log: log() });
        return;
      }
      const session = await beginSession(place(id), requestOf(chosen));
      // The guest's terminal edits lines, in place of this one.
      const raw = chosen.terminal !== undefined && process.stdin.isTTY;
      if (raw) process.stdin.setRawMode(true);
      done(await lendStreams(session, chosen.terminal !== undefined));
    });
}

function addQuestions(program: Command<[], Globals>, root: () => string, place: (id: string) => Place): void {
  program
    .command('list')
    .description('List the containers of this root.')
    .option('-f, --format <name>', 'table or json', 'table')
    .option('-q, --quiet', 'names alone')
    .action(async ({ format, quiet }) => {
      const all = (await containers(root())).map((one) => ({
        ...stateOf(one),
        id: one.id,
        status: statusOf(one),
        pid: one.process?.pid ?? 0,
        created: one.created,
        bundle: one.bundle,
      }));
      if (format === 'json') print(all);
      else for (const { id, pid, status, bundle } of all) process.stdout.write(quiet ? `${id}\n` : `${id}\t${pid}\t${status}\t${bundle}\n`);
    });
  program
    .command('ps')
    .description('List its processes on this host.')
    .argument('<id>')
    .option('-f, --format <name>', 'table or json', 'table')
    .action(async (id, { format }) => {
      const found = await pids(place(id));
      process.stdout.write(format === 'json' ? `${JSON.stringify(found)}\n` : found.map((pid) => `${pid}\n`).join(''));
    });
  program
    .command('features')
    .description('Print what this runtime can do, as JSON.')
    .action(() => print(features));
}

/** Returns the exit status. */
export async function main(argv: readonly string[]): Promise<number> {
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string };
  let code: number = EXIT.ok;
  let globals: Globals = {};
  const program = new Command('ukl-oci')
    .description('An OCI runtime whose containers are unikernels.')
    .version(`ukl-oci version ${version}\nspec: ${OCI_VERSIONS.max}`)
    .option('--root <directory>', `where the containers are kept (${usualRoot()})`)
    .option('--log <file>', 'errors and warnings go there as well')
    .option('--log-format <name>', 'text or json')
    .option('--debug', 'accepted')
    .option('--systemd-cgroup', "accepted: systemd's names are taken for paths")
    .option('--rootless <how>', 'accepted')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .hook('preAction', (command) => {
      globals = command.opts() as Globals;
    });
  const root = (): string => globals.root ?? usualRoot();
  const place = (id: string): Place => new Place(root(), id);
  const log = (): Log => ({ ...silentLog, warn: (text) => say('warning', text, globals) });
  addLifecycle(program as unknown as Command<[], Globals>, place, log, (status) => {
    code = status;
  });
  addQuestions(program as unknown as Command<[], Globals>, root, place);
  try {
    if (argv.length === 0) {
      process.stdout.write(program.helpInformation());
      return EXIT.ok;
    }
    await program.parseAsync(argv, { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    const { message, hint, details } =
      error instanceof CommanderError ? { message: error.message.replace(/^error: /, ''), hint: 'ukl-oci --help', details: undefined } : asUklError(error);
    const given = Object.keys(globals).length > 0 ? globals : (program.opts() as Globals);
    say(
      'error',
      `${message}${details === undefined ? '' : ` (${details.trim().replaceAll('\n', '; ')})`}${hint === undefined ? '' : `; next: ${hint}`}`,
      given,
    );
    return EXIT.failed;
  }
}
