// SPDX-License-Identifier: MIT
/** Programs in a detached guest, and what has to be sent there first. */
import { spawn } from 'node:child_process';
import { lstat, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { isElf } from '../elf/elf.js';
import type { SessionRequest } from '../guest/spec.js';
import { errnoOf, UklError } from '../lib/errors.js';
import { packLibraries, packSame } from '../packing/files.js';
import { openSession, type Session } from '../run/session.js';
import { connectTo, refusalOf } from './client.js';
import { specOf } from './record.js';

/** What init is when it is not PID 1 (guest/init/tools.c). */
const TOOL = '/.ukl/init';

/** Runs a program in a guest, in ring 3. Throws UKL_USAGE for a name without a guest, UKL_VMM for one that does not run. */
export async function exec(name: string, request: SessionRequest, signal?: AbortSignal): Promise<Session> {
  await specOf(name);
  try {
    return openSession(await connectTo(name, '/exec'), request, signal);
  } catch (error) {
    throw refusalOf(name, error);
  }
}

/** Runs one of init's tools to its end and returns what it printed. Throws UKL_VMM with what it complained of. */
async function ask(name: string, words: readonly string[], signal?: AbortSignal): Promise<string> {
  await using session = await exec(name, { argv: [TOOL, ...words] }, signal);
  session.stdin.end();
  const [printed, complaint, { exitCode }] = await Promise.all([text(session.stdout), text(session.stderr), session.end]);
  if (exitCode !== 0) throw new UklError('UKL_VMM', `'${name}': ${complaint.trim() || `init's tool ended with ${exitCode}`}`);
  return printed;
}

export interface GuestProcess {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  readonly state: string;
  readonly memoryBytes: number;
  readonly cpuSeconds: number;
  readonly command: string;
}

/** The processes of a guest; without the kernel's threads, unless they are asked for. */
export async function processes(name: string, all: boolean, signal?: AbortSignal): Promise<GuestProcess[]> {
  const lines = (await ask(name, ['ps'], signal)).trimEnd().split('\n');
  const found = lines.map((line): GuestProcess => {
    const [pid, parent, uid, state = '', memory, cpu, command = ''] = line.split('\t');
    return { pid: Number(pid), parent: Number(parent), uid: Number(uid), state, memoryBytes: Number(memory) * 1024, cpuSeconds: Number(cpu), command };
  });
  // Who asks is not meant: the tool, and its session.
  const own = found.filter(({ command }) => command === `${TOOL} ps`).flatMap(({ pid, parent }) => [pid, parent]);
  const isThread = ({ pid, parent }: GuestProcess): boolean => pid === 2 || parent === 2;
  return found.filter((process) => !own.includes(process.pid) && (all || !isThread(process)));
}

/** GNU tar on this host, as one end of a pipe. */
function tar(words: readonly string[]): { readonly child: ReturnType<typeof spawn>; readonly done: Promise<void> } {
  const child = spawn('tar', words, { stdio: ['pipe', 'pipe', 'pipe'] });
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  const done = new Promise<void>((resolve, reject) => {
    child.once('error', (error) =>
      reject(new UklError('UKL_HOST', `tar cannot be run: ${errnoOf(error) ?? error.message}`, { hint: 'sudo apt-get install tar' })),
    );
    child.once('close', (code) => (code === 0 ? resolve() : reject(new UklError('UKL_HOST', `tar: ${complaint.trim() || `status ${code}`}`))));
  });
  done.catch(() => {});
  return { child, done };
}

/** Words for GNU tar by which what is copied has the new path's name, links' targets their own. */
const renaming = (path: string): string[] => ['--transform', `s,^[^/]*,${basename(path).replace(/[\\,&]/g, '\\$&')},rSh`];

async function send(name: string, packing: readonly string[], unpacking: readonly string[], signal?: AbortSignal): Promise<void> {
  await using session = await exec(name, { argv: [TOOL, ...unpacking] }, signal);
  const { child, done } = tar(packing);
  session.stdout.resume();
  const complaint = text(session.stderr);
  await Promise.all([done, child.stdout === null ? undefined : pipeline(child.stdout, session.stdin).catch(() => {})]);
  const { exitCode } = await session.end;
  if (exitCode !== 0) throw new UklError('UKL_VMM', `'${name}': ${(await complaint).trim()}`);
}

/** Words of a shell's line that could be programs. */
const wordsOf = (line: string): string[] => [...new Set(line.match(/[\w./+-]+/g) ?? [])];

/** Programs that a command probably needs: the first word, and what a shell is given as its line. */
export function programsIn([first = '', ...rest]: readonly string[]): string[] {
  const line = /^(ba|da)?sh$/.test(basename(first)) ? rest[rest.indexOf('-c') + 1] : undefined;
  return [first, ...(line === undefined || !rest.includes('-c') ? [] : wordsOf(line))];
}

async function onHost(program: string): Promise<string | undefined> {
  const places = program.includes('/') ? [program] : ['/bin', '/usr/bin', '/sbin', '/usr/sbin'].map((directory) => join(directory, program));
  for (const place of places) {
    const real = await realpath(place).catch(() => undefined);
    if (real !== undefined && (await lstat(real)).isFile() && (await isElf(real))) return place;
  }
  return undefined;
}

/**
 * Sends programs of this host, with their libraries, that a guest does not
 * have. What is there already stays as it is; what was sent is gone with the guest.
 *
 * @returns the programs that were sent
 */
export async function bring(name: string, programs: readonly string[], signal?: AbortSignal): Promise<string[]> {
  const there = new Set((await ask(name, ['which', ...programs], signal)).split('\n'));
  const found = await Promise.all(programs.filter((program) => program !== '' && !there.has(program)).map(onHost));
  const missing = found.flatMap((place) => (place === undefined ? [] : [place]));
  if (missing.length === 0) return [];
  const files = (await Promise.all(missing.map(async (place) => [...(await packSame(place)), ...(await packLibraries(await realpath(place)))]))).flat();
  // A link that only a guest needs is none of this host's files.
  const paths = await Promise.all(files.map(async ({ guest }) => ((await lstat(guest).catch(() => undefined)) === undefined ? [] : [guest.slice(1)])));
  await send(name, ['-cf', '-', '-C', '/', '--no-recursion', ...new Set(paths.flat())], ['add', '/'], signal);
  return missing;
}

/** Copies a file or a tree out of a guest. To "-", an archive goes to standard output. */
export async function copyFrom(name: string, path: string, to: string, signal?: AbortSignal): Promise<void> {
  const wanted = path.replace(/(?<=.)\/+$/, '');
  const base = wanted.replace(/.*\//, '') || '.';
  await using session = await exec(name, { argv: [TOOL, 'get', wanted] }, signal);
  session.stdin.end();
  const complaint = text(session.stderr);
  const check = async (): Promise<void> => {
    const { exitCode } = await session.end;
    if (exitCode !== 0) throw new UklError('UKL_VMM', `'${name}': ${(await complaint).trim() || `could not read ${path}`}`);
  };
  if (to === '-') {
    await pipeline(session.stdout, process.stdout, { end: false });
    return check();
  }
  const directory = (await lstat(to).catch(() => undefined))?.isDirectory() === true;
  const renamed = directory ? [] : renaming(to);
  // Whatever the guest sends: nothing but what was asked for, and GNU tar takes no names that lead out.
  const owned = ['--no-same-owner', '--no-same-permissions', '-C', directory ? to : dirname(to)];
  const { child, done } = tar(['-xf', '-', ...owned, ...renamed, '--', base]);
  if (child.stdin !== null) await pipeline(session.stdout, child.stdin).catch(() => {});
  await check();
  await done;
}

/** Copies a file or a tree into a guest, as cp -a does: into a directory that is there, or under the new name. */
export async function copyTo(name: string, from: string, path: string, signal?: AbortSignal): Promise<void> {
  const info = await lstat(from).catch(() => undefined);
  if (info === undefined) throw new UklError('UKL_NO_FILE', `${from} does not exist`, { hint: 'check the path' });
  const kind = (await ask(name, ['kind', path], signal)).trim();
  const into = kind === 'directory' ? path : dirname(path);
  const base = basename(await realpath(from));
  const renamed = kind === 'directory' ? [] : renaming(path);
  await send(name, ['--format=gnu', '-cf', '-', '-C', dirname(await realpath(from)), ...renamed, '--', base], ['put', into], signal);
}
