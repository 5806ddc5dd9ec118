// SPDX-License-Identifier: MIT
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { UklError } from '../../lib/errors.js';
import { exec } from '../../lib/exec.js';
import { hashValue } from '../../lib/hash.js';
import { withLock } from '../../lib/lock.js';
import type { Log } from '../../lib/log.js';
import type { Libc } from '../../model/index.js';
import type { ResolvedConfig } from '../../options/config.js';

export interface MakeOptions {
  /** The project's. */
  readonly directory: string;
  readonly name: string;
  readonly config: ResolvedConfig;
  readonly libc: Libc | undefined;
  readonly getSource: (name: string) => Promise<{ readonly path: string; readonly version: string }>;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a project's build commands and returns the directory they ran in. A
 * Debian source package is built in a copy below `.ukl`, once; a project's own
 * directory is left to its make, which knows best what is out of date.
 *
 * @throws UKL_COMPILE with the end of the command's output and its log
 */
export async function make(options: MakeOptions): Promise<string> {
  const { directory, name, config, libc, log, signal } = options;
  const { build = [], debianSource } = config;
  const source = debianSource === undefined ? undefined : await options.getSource(debianSource);
  const tree = source === undefined ? directory : join(directory, '.ukl', 'build', `${name}-${libc === undefined ? 'host' : 'ukl'}`);
  const stamp = `${tree}.made`;
  const key = hashValue({ build, source, libc });
  const made = async (): Promise<boolean> => source !== undefined && (await readFile(stamp, 'utf8').catch(() => '')) === key;
  await mkdir(join(directory, '.ukl', 'build'), { recursive: true });
  await withLock(
    join(directory, '.ukl', 'build', '.lock'),
    async () => {
      if (await made()) return;
      if (source !== undefined) {
        await rm(stamp, { force: true });
        await rm(tree, { recursive: true, force: true });
        await exec('cp', ['-a', source.path, tree], { signal });
      }
      const logFile = join(directory, '.ukl', 'build', `${name}.log`);
      const bin = libc?.bin;
      const env = {
        CC: bin === undefined ? 'gcc' : join(bin, 'ukl-gcc'),
        CXX: bin === undefined ? 'g++' : join(bin, 'ukl-g++'),
        JOBS: String(availableParallelism()),
        ...(bin === undefined ? {} : { PATH: `${bin}:${process.env.PATH ?? ''}` }),
      };
      await log.step(`make ${name}`, async (progress) => {
        for (const command of build) {
          await exec('sh', ['-ec', command], {
            cwd: tree,
            env,
            log: logFile,
            signal,
            errorCode: 'UKL_COMPILE',
            hint: `read the log: ${logFile}`,
            onLine: (line) => progress(line.slice(0, 60)),
          });
        }
      });
      if (source !== undefined) await writeFile(stamp, key);
    },
    { onWait: () => log.info(`waiting: another ukl makes ${name}`), signal },
  );
  const program = resolve(tree, config.program ?? '');
  if ((await readFile(program).catch(() => undefined)) === undefined) {
    throw new UklError('UKL_COMPILE', `the build of ${name} left no ${config.program}`, { hint: 'correct program in ukl.config' });
  }
  return tree;
}
