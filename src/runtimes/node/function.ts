// SPDX-License-Identifier: MIT
/** A function (docs/functions.md) as a program of Node.js: the server that its guest runs, around the function's module. */
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { exec } from '../../lib/exec.js';
import { hashFile } from '../../lib/hash.js';
import { projectRoot } from '../../lib/paths.js';
import type { GuestFile } from '../../model/index.js';
import { fromStore, type StoreContext } from '../../store/store.js';
import type { NodeRelease } from './release.js';

/** What a function imports as 'ukl'. */
export const FUNCTION_ALIAS: Readonly<Record<string, string>> = { ukl: join(projectRoot, 'src/functions/define.ts') };

const supervisor = (name: string): string => join(projectRoot, 'guest/supervisors/node', name);

/** Writes the module that serves a function. Its imports are evaluated in this order. */
export async function writeServer(entry: string, workDir: string): Promise<string> {
  const path = join(workDir, `${basename(entry).replace(/\.[cm]?[jt]s$/, '')}.serve.mts`);
  const lines = [
    `import ${JSON.stringify(supervisor('fresh.mts'))};`,
    `import definition from ${JSON.stringify(resolve(entry))};`,
    `import { serve } from ${JSON.stringify(supervisor('function.mts'))};`,
    'serve(definition);',
  ];
  await mkdir(workDir, { recursive: true });
  await writeFile(path, `${lines.join('\n')}\n`);
  return path;
}

const FLAGS = ['-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-fvisibility=hidden', '-s'];

/** The addon that has OpenSSL draw a new seed, where the server looks for it. */
export async function reseedAddon({ headers, version }: NodeRelease, context: StoreContext): Promise<GuestFile> {
  const source = supervisor('reseed.c');
  const directory = await fromStore(
    {
      kind: 'reseed',
      title: "build the function's addon",
      key: { source: await hashFile(source), flags: FLAGS, version, compiler: (await exec('gcc', ['-dumpfullversion'])).trim() },
      make: async ({ output, log }) => {
        await exec('gcc', [...FLAGS, '-I', join(headers, 'include/node'), '-o', join(output, 'reseed.node'), source], { log });
      },
    },
    context,
  );
  return { guest: '/.ukl/reseed.node', kind: 'file', host: join(directory, 'reseed.node'), mode: 0o755 };
}
