// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { UklError } from '../lib/errors.js';
import { exec, lastLines } from '../lib/exec.js';
import { hashFile } from '../lib/hash.js';
import { projectRoot } from '../lib/paths.js';
import type { Kernel } from '../model/index.js';
import { fromStore, type StoreContext } from '../store/store.js';
import { flagsFor } from './kernel.js';
import { getKernelSource } from './source.js';

/** Holds <ukl.h> and <ukl-upcall.h>, for both halves of a shortcut. */
const INCLUDE = join(projectRoot, 'include');

/** Kernel halves that ukl has: "tcp" is tcp.c. names.c is loaded before all others. */
const READY_MADE = join(projectRoot, 'guest/modules');
const NAMES = join(READY_MADE, 'names.c');

/** What makes up the short way of TCP; each works without the others. docs/express.md */
export const EXPRESS = ['express', 'calls', 'wait'] as const;

/** As the module is called in the kernel: letters, digits and underscores. */
const moduleName = (file: string): string => `ukl_${basename(file, '.c').replaceAll(/\W/g, '_')}`;

/**
 * The file of a kernel half: a path, or the name of one that ukl has.
 *
 * @throws UKL_NO_FILE
 */
export function findShortcut(word: string, directory: string): string {
  const file = /^\w+$/.test(word) ? join(READY_MADE, `${word}.c`) : resolve(directory, word);
  if (existsSync(file)) return file;
  throw new UklError('UKL_NO_FILE', `the shortcut ${word} does not exist: no ${file}`, { hint: "a C file, 'tcp' or 'upcall'" });
}

/** Hashes of a file and of what it includes with quotes, by path. */
async function hashSources(file: string, hashes: Record<string, string> = {}): Promise<Record<string, string>> {
  if (hashes[file] !== undefined || !existsSync(file)) return hashes;
  hashes[file] = await hashFile(file);
  for (const [, name = ''] of (await readFile(file, 'utf8')).matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)) {
    await hashSources(join(dirname(file), name), hashes);
  }
  return hashes;
}

/** What modpost refuses, in words. Exported for its test. */
export function refusals(output: string): string[] {
  const words: string[] = [];
  for (const [, text = ''] of output.matchAll(/^ERROR: modpost: (.*)$/gm)) {
    const unknown = /^"(\w+)" \[(?:.*\/)?(\w+)\.ko\] undefined!$/.exec(text);
    const gpl = /^GPL-incompatible module (\w+)\.ko uses GPL-only symbol '(\w+)'$/.exec(text);
    const licence = /^missing MODULE_LICENSE\(\) in (?:.*\/)?(\w+)\.o$/.exec(text);
    if (unknown) words.push(`${unknown[2]} calls ${unknown[1]}, which the kernel does not export`);
    else if (gpl) words.push(`${gpl[1]} calls ${gpl[2]}, which is exported to GPL-compatible modules only`);
    else if (licence) words.push(`${licence[1]} does not say its MODULE_LICENSE()`);
    else words.push(text);
  }
  return words;
}

/**
 * Kernel halves of shortcuts, as modules for this very kernel, in the order in
 * which they are to be loaded.
 *
 * @param files C files, each a module
 * @throws UKL_SHORTCUT if one calls what the kernel does not export to it, UKL_COMPILE
 */
export async function getShortcuts(kernel: Kernel, files: readonly string[], context: StoreContext): Promise<string[]> {
  if (kernel.modules === undefined) throw new UklError('UKL_BUG', `the ${kernel.flavour} kernel takes no modules`);
  const {
    modules: build,
    spec: { counts },
  } = kernel;
  const { path: source } = await getKernelSource(kernel.spec, context);
  const all = [...new Set([NAMES, ...files])];
  const names = all.map(moduleName);
  const double = names.find((name, index) => names.indexOf(name) !== index);
  if (double !== undefined) throw new UklError('UKL_CONFIG', `two shortcuts are called ${double}`, { hint: 'name one of the files differently' });
  const sources: Record<string, string> = {};
  for (const file of [...(await readdir(INCLUDE)).map((name) => join(INCLUDE, name)), ...all]) await hashSources(file, sources);

  const path = await fromStore(
    {
      kind: 'shortcuts',
      title: `build shortcuts: ${files.map((file) => basename(file)).join(' ')}`,
      key: { kernel: kernel.hashes, sources, names, ...(counts === undefined ? {} : { counts: counts.id }) },
      make: async ({ output, work, log }) => {
        // The compiler's messages and quoted includes are about the file itself.
        for (const [index, file] of all.entries()) await writeFile(join(work, `${names[index]}.c`), `#include "${file}"\n`);
        await writeFile(join(work, 'Kbuild'), `ccflags-y := -I${INCLUDE}\n${names.map((name) => `obj-m += ${name}.o\n`).join('')}`);
        let words = '';
        await exec('make', ['-s', '-C', source, `O=${build}`, `M=${work}`, `-j${availableParallelism()}`, 'modules'], {
          log,
          signal: context.signal,
          ...(counts === undefined ? {} : { env: { KCFLAGS: flagsFor(counts, work) } }),
          onLine: (line) => (words += `${line}\n`),
        }).catch((error: unknown) => {
          context.signal?.throwIfAborted();
          const refused = refusals(words);
          if (refused.length > 0) {
            throw new UklError('UKL_SHORTCUT', refused.join('; '), {
              log,
              cause: error,
              hint: `${join(build, 'Module.symvers')} lists what is exported, and to whom`,
            });
          }
          const details = lastLines(words.replaceAll(/^make(\[\d+\])?: .*\n/gm, ''));
          throw new UklError('UKL_COMPILE', `could not compile ${files.map((file) => basename(file)).join(' ')}`, { details, log, cause: error });
        });
        for (const name of names) await copyFile(join(work, `${name}.ko`), join(output, `${name}.ko`));
      },
    },
    context,
  );
  return names.map((name) => join(path, `${name}.ko`));
}
