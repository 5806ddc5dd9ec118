// SPDX-License-Identifier: MIT
/** What an image's configuration starts, and what of it can run in ring 0. */
import { open } from 'node:fs/promises';
import { posix } from 'node:path';
import { readElf } from '../elf/elf.js';
import { UklError } from '../lib/errors.js';
import type { ImageConfig } from './spec.js';
import type { FileNode, Tree } from './tree.js';

export interface Command {
  /** Always there: the entry point, or where there is none, the program. */
  readonly entrypoint: readonly string[];
  /** What the user's words take the place of. */
  readonly args: readonly string[];
}

export interface Started {
  /** The ELF program that is executed: a script's interpreter, as the kernel executes no script in ring 0. */
  readonly program: { readonly path: string; readonly host: string };
  /** The words before `args`. */
  readonly command: readonly string[];
  readonly args: readonly string[];
  /** Other programs that this one is known to execute, by their paths. */
  readonly starts: readonly string[];
}

/** As docker has it: words of the user's replace CMD, and --entrypoint both. Throws UKL_IMAGE if nothing is left. */
export function commandOf({ config }: ImageConfig, given: { readonly entrypoint?: string | undefined; readonly words: readonly string[] }): Command {
  const entrypoint = given.entrypoint === undefined ? config.Entrypoint : [given.entrypoint];
  const args = given.words.length > 0 ? given.words : given.entrypoint === undefined ? config.Cmd : [];
  if (entrypoint.length > 0) return { entrypoint, args };
  const [program, ...rest] = args;
  if (program === undefined) throw new UklError('UKL_IMAGE', 'the image does not say what to start', { hint: '--entrypoint PROGRAM, or -- PROGRAM ARGUMENTS' });
  return { entrypoint: [program], args: rest };
}

/** Of the execve() of scripts by scripts: BINPRM's limit (fs/exec.c). */
const SCRIPTS_MAX = 5;
/** BINPRM_BUF_SIZE (include/uapi/linux/binfmts.h). */
const HEAD = 256;

/** Programs that an entry point hands over by, found by name. */
const LAUNCHERS = ['gosu', 'su-exec', 'setpriv', 'env'];

interface Executable {
  /** As execve() is given it: a link keeps its name. */
  readonly named: string;
  /** What that leads to. */
  readonly path: string;
  readonly node: FileNode;
}

/** Finds a program as execvp() does. */
function findExecutable(tree: Tree, word: string, path: string, cwd: string): Executable | undefined {
  const places = word.includes('/') ? [word] : path.split(':').map((directory) => posix.join(directory || '.', word));
  for (const named of places) {
    const found = tree.find(posix.resolve(cwd, named));
    if (found?.node.kind === 'file' && (found.node.mode & 0o111) !== 0) return { named, path: found.path, node: found.node };
  }
  return undefined;
}

async function headOf({ host }: FileNode): Promise<Buffer> {
  if (host === undefined) return Buffer.alloc(0);
  const file = await open(host);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD), 0, HEAD, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** A script's interpreter with its one argument, as fs/binfmt_script.c cuts them. */
function interpreterOf(head: Buffer): string[] | undefined {
  const line = /^#![ \t]*([^\n]*)/.exec(head.toString('latin1'))?.[1]?.trim();
  const [, interpreter, argument] = /^([^ \t]+)[ \t]*(.*)$/.exec(line ?? '') ?? [];
  if (interpreter === undefined) return undefined;
  return argument === '' || argument === undefined ? [interpreter] : [interpreter, argument];
}

const isElf = (head: Buffer): boolean => head.toString('latin1', 0, 4) === '\x7fELF';

/** What an executable file comes to: an ELF program, and the words before its arguments if it was a script. */
async function unwrap(tree: Tree, start: Executable, cwd: string): Promise<{ readonly program: Executable; readonly words: readonly string[] } | undefined> {
  let program = start;
  let words: string[] = [];
  for (let depth = 0; depth <= SCRIPTS_MAX; depth++) {
    const head = await headOf(program.node);
    if (isElf(head)) return { program, words };
    const interpreter = interpreterOf(head);
    const next = interpreter === undefined ? undefined : findExecutable(tree, interpreter[0] ?? '', cwd, cwd);
    if (interpreter === undefined || next === undefined) return undefined;
    words = [...interpreter, program.named, ...words.slice(1)];
    program = next;
  }
  return undefined;
}

/**
 * Finds what a command executes.
 *
 * @throws UKL_NO_FILE if the image has no such program; UKL_NOT_ELF, UKL_WRONG_ARCH, UKL_MISSING_LIBRARY if nobody can execute it
 */
export async function findStart(tree: Tree, { entrypoint, args }: Command, path: string, cwd: string): Promise<Started> {
  const [word = '', ...rest] = entrypoint;
  const found = findExecutable(tree, word, path, cwd);
  if (found === undefined) {
    throw new UklError('UKL_NO_FILE', `the image has no program ${word}${word.includes('/') ? '' : ` in ${path}`}`, { hint: '--entrypoint PROGRAM' });
  }
  const unwrapped = await unwrap(tree, found, cwd);
  if (unwrapped === undefined) {
    throw new UklError('UKL_NOT_ELF', `the image's ${found.named} is neither an ELF program nor a script whose interpreter is there`, {
      hint: '--entrypoint PROGRAM',
    });
  }
  const { program, words } = unwrapped;
  const host = program.node.host ?? '';
  const { interpreter } = await readElf(host);
  if (interpreter !== undefined && tree.find(interpreter) === undefined) {
    throw new UklError('UKL_MISSING_LIBRARY', `the image's ${program.path} needs the dynamic loader ${interpreter}, which the image does not have`, {
      hint: 'a program for another C library: build the image on a base that has it',
    });
  }
  const command = words.length === 0 ? [word, ...rest] : [...words, ...rest];
  const starts = new Set<string>();
  const launched = [...command.slice(1), ...args, ...(words.length === 0 ? [] : LAUNCHERS)];
  for (const one of launched) {
    const executable = /^[\w./+-]+$/.test(one) && !one.startsWith('-') ? findExecutable(tree, one, path, cwd) : undefined;
    const started = executable === undefined ? undefined : await unwrap(tree, executable, cwd);
    if (started !== undefined && started.program.path !== program.path) starts.add(started.program.path);
  }
  return { program: { path: program.path, host }, command, args, starts: [...starts] };
}
