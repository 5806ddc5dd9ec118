// SPDX-License-Identifier: MIT
/** Further programs in a container, in ring 3. */
import { connectAt, isGone } from '../detached/client.js';
import type { SessionRequest } from '../guest/spec.js';
import { UklError } from '../lib/errors.js';
import { openSession, type Session } from '../run/session.js';
import { type Program, programOf } from './plan.js';
import { type Place, readConfig, readRecord, statusOf } from './record.js';
import { processSchema, readDocument } from './spec.js';

/** What `exec` is given in place of a process.json. */
export interface ExecWords {
  readonly args: readonly string[];
  readonly env?: readonly string[] | undefined;
  readonly cwd?: string | undefined;
  /** "uid[:gid]" */
  readonly user?: string | undefined;
  readonly tty?: boolean | undefined;
}

/** The program of a file, or of words, which have the rest from the container's own. Throws UKL_CONFIG, UKL_USAGE. */
export async function programFor(place: Place, file: string | undefined, words: ExecWords): Promise<Program> {
  if (file !== undefined) return programOf(await readDocument(file, processSchema));
  const { process: own } = await readConfig(place);
  const [, uid, gid] = /^(\d+)(?::(\d+))?$/.exec(words.user ?? '') ?? [];
  if (words.user !== undefined && uid === undefined) throw new UklError('UKL_USAGE', `'${words.user}' is no user by number`, { hint: '--user 1000:1000' });
  if (words.args.length === 0) throw new UklError('UKL_USAGE', 'nothing to start', { hint: `ukl-oci exec ${place.id} PROGRAM` });
  const user = uid === undefined ? own.user : { uid: Number(uid), gid: Number(gid ?? own.user.gid), additionalGids: [] };
  return programOf({ ...own, args: [...words.args], env: [...own.env, ...(words.env ?? [])], cwd: words.cwd ?? own.cwd, user, terminal: words.tty ?? false });
}

export const requestOf = ({ args, env, cwd, user, terminal }: Program): SessionRequest => ({ argv: args, env, cwd, user, terminal });

/** Begins a program in a container that runs. Throws UKL_USAGE, UKL_VMM. */
export async function beginSession(place: Place, request: SessionRequest): Promise<Session> {
  const status = statusOf(await readRecord(place));
  const stopped = new UklError('UKL_VMM', `container not running: ${place.id} is ${status}`, { hint: `ukl-oci state ${place.id}` });
  if (status !== 'running') throw stopped;
  try {
    return openSession(await connectAt(place.socket, '/exec'), request);
  } catch (error) {
    throw isGone(error) ? stopped : error;
  }
}

const PASSED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];

/** Lends a session this process's streams and signals, until it ends. Returns its status. Throws UKL_VMM if the guest ends first. */
export async function lendStreams(session: Session, terminal: boolean): Promise<number> {
  const { stdin, stdout, stderr } = process;
  for (const name of PASSED) process.on(name, () => session.signal(name));
  if (terminal) stdout.on('resize', () => session.resize(stdout.rows, stdout.columns));
  // A reader that is gone ends neither the program nor this process.
  for (const stream of [stdout, stderr]) stream.on('error', () => {});
  stdin.pipe(session.stdin);
  session.stdout.pipe(stdout, { end: false });
  session.stderr.pipe(stderr, { end: false });
  try {
    const [{ exitCode }] = await Promise.all([
      session.end,
      ...[session.stdout, session.stderr].map((stream) => new Promise((done) => stream.once('end', done))),
    ]);
    return exitCode;
  } finally {
    stdin.destroy();
  }
}
