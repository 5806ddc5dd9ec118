// SPDX-License-Identifier: MIT
/** From a root file system and a process to a program that can be packed. */
import { posix } from 'node:path';
import type { App, User } from '../../model/index.js';
import { type Command, findStart } from '../../oci/process.js';
import type { Tree } from '../../oci/tree.js';

/** What docker gives a process whose image does not say. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface ContainerProcess {
  readonly command: Command;
  /** "NAME=value"; PATH and HOME are added if they are not there. */
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: User & { readonly home: string };
  /** Directories that are made if they are not there. */
  readonly volumes: readonly string[];
  readonly stopSignal?: string | undefined;
  readonly exposed: readonly string[];
}

/** "NAME=value" words. */
export function variablesOf(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(words.filter((word) => word.includes('=')).map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]));
}

/** Our own files are not an image's to bring, and init mounts over the kernel's. */
const isOurs = (guest: string): boolean => /^\/(\.ukl|dev|proc|sys)\//.test(`${guest}/`);

/**
 * The program that a process is, with the root file system as its files.
 *
 * @throws UKL_NO_FILE, UKL_NOT_ELF, UKL_WRONG_ARCH, UKL_MISSING_LIBRARY, UKL_IMAGE
 */
export async function containerApp(name: string, tree: Tree, { command, cwd, volumes, user: { home, ...user }, ...process }: ContainerProcess): Promise<App> {
  for (const path of [cwd, ...volumes]) tree.directory(posix.resolve('/', path));
  const env = { PATH, HOME: home, HOSTNAME: name, ...variablesOf(process.env) };
  const start = await findStart(tree, command, env.PATH, cwd);
  return {
    name,
    host: start.program.host,
    guest: start.program.path,
    command: start.command,
    starts: start.starts,
    files: tree.files().filter(({ guest }) => !isOurs(guest)),
    wholeRoot: true,
    process: { args: start.args, env, cwd, user, stopSignal: process.stopSignal, exposed: process.exposed },
  };
}
