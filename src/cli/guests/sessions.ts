// SPDX-License-Identifier: MIT
/** Commands that talk to a guest: programs in it, its streams, its files. */
import { constants } from 'node:os';
import { attach } from '../../detached/attach.js';
import { bring, copyFrom, copyTo, exec, processes, programsIn } from '../../detached/exec.js';
import { specOf } from '../../detached/record.js';
import { UklError } from '../../lib/errors.js';
import { formatSize } from '../../lib/size.js';
import { EXIT, statusOfSignal } from '../../model/exit-status.js';
import { type GlobalOptions, logFor, printJson } from '../output.js';
import { type Interruptible, SIGNALS } from '../run.js';
import { columns } from './tables.js';

export interface ExecFlags extends GlobalOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly workdir?: string;
  readonly tty?: boolean;
  readonly interactive?: boolean;
  readonly bring?: readonly string[];
}

/** `ukl exec`: the exit status is the program's. */
export async function execCommand(name: string, argv: readonly string[], flags: ExecFlags, { signal, release }: Interruptible): Promise<number> {
  if (argv.length === 0) throw new UklError('UKL_USAGE', 'there is no command to run', { hint: `ukl exec ${name} -- /bin/sh` });
  await specOf(name);
  const sent = await bring(name, [...(flags.bring ?? []), ...programsIn(argv)], signal);
  if (sent.length > 0) logFor(flags).info(`sent to the guest: ${sent.join(', ')}`);
  const { stdin, stdout } = process;
  if (flags.tty && !stdin.isTTY) throw new UklError('UKL_USAGE', 'standard input is no terminal', { hint: 'leave -t out' });
  const terminal = flags.tty ? { rows: stdout.rows, columns: stdout.columns } : undefined;
  await using session = await exec(name, { argv, env: flags.env, cwd: flags.workdir, terminal });
  // The first signal is the program's; whoever repeats it hangs up.
  let signals = 0;
  const forward = (signalName: NodeJS.Signals): void => {
    if (signals++ === 0) session.signal(signalName);
    else void session[Symbol.asyncDispose]();
  };
  const resize = (): void => session.resize(stdout.rows, stdout.columns);
  for (const one of SIGNALS) process.on(one, forward);
  if (flags.tty) {
    stdin.setRawMode(true);
    stdout.on('resize', resize);
  }
  release();
  if (flags.interactive || flags.tty) stdin.pipe(session.stdin);
  else session.stdin.end();
  session.stdout.pipe(stdout, { end: false });
  session.stderr.pipe(process.stderr, { end: false });
  try {
    return (await session.end).exitCode;
  } finally {
    if (flags.tty) stdin.setRawMode(false);
    stdout.off('resize', resize);
    for (const one of SIGNALS) process.off(one, forward);
    stdin.unpipe();
    stdin.destroy();
  }
}

/** `ukl attach`: its streams, until it ends, or Ctrl-C, which leaves it running. */
export async function attachCommand(name: string, flags: GlobalOptions & { readonly stdin?: boolean }, { signal }: Interruptible): Promise<number> {
  const attached = await attach(name, { stdout: process.stdout, stderr: process.stderr, stdin: flags.stdin === false ? undefined : process.stdin });
  const left = new Promise<undefined>((resolve) => signal.addEventListener('abort', () => resolve(undefined), { once: true }));
  const exitCode = await Promise.race([attached.end, left]);
  attached.leave();
  process.stdin.destroy();
  return exitCode ?? statusOfSignal(String(signal.reason));
}

/** "web:/data" or a path of this host. */
function side(word: string): { readonly guest?: string; readonly path: string } {
  const [, guest, path] = /^([a-zA-Z0-9][\w.-]*):(.*)$/.exec(word) ?? [];
  return guest === undefined || path === undefined ? { path: word } : { guest, path };
}

/** `ukl cp` */
export async function copyCommand(from: string, to: string, flags: GlobalOptions, signal: AbortSignal): Promise<number> {
  const [source, target] = [side(from), side(to)];
  if (source.guest !== undefined && target.guest === undefined) await copyFrom(source.guest, source.path, target.path, signal);
  else if (source.guest === undefined && target.guest !== undefined) await copyTo(target.guest, source.path, target.path, signal);
  else throw new UklError('UKL_USAGE', 'one side is a guest, and the other this host', { hint: 'ukl cp web:/etc/hosts .   or   ukl cp hosts web:/etc/hosts' });
  if (flags.json) printJson({ ok: true });
  return EXIT.ok;
}

/** `ukl top` */
export async function topCommand(name: string, flags: GlobalOptions & { readonly all?: boolean }, signal: AbortSignal): Promise<number> {
  const found = await processes(name, flags.all === true, signal);
  if (flags.json) printJson({ ok: true, processes: found });
  else
    process.stdout.write(
      columns([
        ['PID', 'PPID', 'UID', 'STATE', 'MEMORY', 'TIME', 'COMMAND'],
        ...found.map(({ pid, parent, uid, state, memoryBytes, cpuSeconds, command }) => [
          ...[pid, parent, uid].map(String),
          state,
          formatSize(memoryBytes),
          `${cpuSeconds.toFixed(2)} s`,
          command,
        ]),
      ]),
    );
  return EXIT.ok;
}

/** A signal that this host knows. Throws UKL_USAGE. */
export function checkSignal(word: string): string {
  const name = word.toUpperCase().replace(/^(?!SIG)/, 'SIG');
  const byNumber = Object.entries(constants.signals).find(([, number]) => String(number) === word)?.[0];
  if (byNumber !== undefined) return byNumber;
  if (!(name in constants.signals)) throw new UklError('UKL_USAGE', `'${word}' is no signal`, { hint: 'HUP, TERM, KILL, USR1' });
  return name;
}
