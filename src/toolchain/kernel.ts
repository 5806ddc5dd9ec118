// SPDX-License-Identifier: MIT
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Kernel, KernelFlavour } from '../artifacts.js';
import { exec } from '../lib/exec.js';
import { UklError } from '../lib/errors.js';
import { hashFile } from '../lib/hash.js';
import { projectRoot, storeRoot } from '../lib/paths.js';
import { getKernelSource } from './source.js';
import { fromStore, type StoreContext } from './store.js';

const FRAGMENTS: Readonly<Record<KernelFlavour, readonly string[]>> = {
  stock: ['base.config'],
  ukl: ['base.config', 'ukl.config'],
};

/** Lines and unwind tables for gdb, no types: a tenth of the full debug information. The bzImage has none. */
const DEBUG_INFO = '-g1';

/** What the build of a module needs of the kernel's (as in Debian's linux-headers), besides the source. */
const MODULE_BUILD = ['.config', 'Module.symvers', 'include', 'arch/x86/include/generated', 'scripts', 'tools/objtool/objtool'];

/** Roughly how many objects the build compiles; only for the progress shown. */
const EXPECTED_STEPS = 1800;

/** What a .config or a fragment of one sets, as Kconfig reads it: of two lines the later counts. */
function readOptions(text: string): Map<string, string> {
  const options = new Map<string, string>();
  for (const [, unset, name = '', value] of text.matchAll(/^(?:# (CONFIG_\w+) is not set|(CONFIG_\w+)=(.*))$/gm)) options.set(unset ?? name, value ?? 'n');
  return options;
}

/**
 * The options that a fragment asks for and a .config lacks. Kconfig drops an
 * option whose dependencies are missing without a word.
 */
export function missingOptions(fragment: string, config: string): string[] {
  const have = readOptions(config);
  return [...readOptions(fragment)].filter(([name, value]) => (have.get(name) ?? 'n') !== value).map(([name, value]) => `${name}=${value}`);
}

/** Somebody's own fragment, which must not ask for what an image cannot have. */
async function readFragment(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new UklError('UKL_NO_FILE', `the kernel's options cannot be read: ${file}`, { cause, hint: 'a file with lines like CONFIG_XFS_FS=y' });
  });
  const options = readOptions(text);
  const module = [...options].find(([, value]) => value === 'm');
  if (module) throw new UklError('UKL_KERNEL_CONFIG', `${file} asks for ${module[0]}=m, and images carry no modules of drivers`, { hint: `${module[0]}=y` });
  if (options.size === 0) throw new UklError('UKL_KERNEL_CONFIG', `${file} sets no option`, { hint: 'lines like CONFIG_XFS_FS=y' });
  return text;
}

const modular = (fragment: string): boolean => readOptions(fragment).get('CONFIG_MODULES') === 'y';

export interface KernelOptions {
  /** A linux-6.12.*.tar.* in place of Debian's. */
  readonly tarball?: string | undefined;
  /** Fragments of a .config, on top of ours; the last one that names an option decides. */
  readonly fragments?: readonly string[];
}

/**
 * A built kernel from the store. The build is out of the source tree, in a
 * scratch directory which make resumes after an interruption.
 *
 * @throws UKL_KERNEL_CONFIG if Kconfig dropped an option, UKL_NO_FILE, UKL_COMMAND if make fails
 */
export async function getKernel(
  flavour: KernelFlavour,
  context: StoreContext,
  options: KernelOptions = {},
): Promise<Kernel> {
  const texts = await Promise.all([
    ...FRAGMENTS[flavour].map((name) => readFile(join(projectRoot, 'kernel/config', name), 'utf8')),
    ...(options.fragments ?? []).map(readFragment),
  ]);
  const fragment = texts.join('\n');
  const source = await getKernelSource({ patched: flavour === 'ukl', tarball: options.tarball }, context);
  const compiler = (await exec('gcc', ['-dumpfullversion'])).trim();

  const path = await fromStore(
    {
      kind: `kernel-${flavour}`,
      title: `build Linux ${source.version} (${flavour})`,
      key: { tarball: source.tarball, patches: source.patches, fragment, compiler, debug: DEBUG_INFO },
      make: async ({ output, work, progress, log }) => {
        const fragmentFile = join(work, 'fragment.config');
        await writeFile(fragmentFile, fragment);
        const make = (targets: readonly string[], onLine?: (line: string) => void): Promise<string> =>
          // If we are killed, compilers go on for a while: the lock is theirs as long as one of them lives.
          exec('flock', [join(work, '.lock'), 'make', '-C', source.path, `O=${work}`, `-j${availableParallelism()}`, ...targets], {
            log,
            signal: context.signal,
            ...(onLine ? { onLine } : {}),
            // The same inputs give the same bits.
            env: { KCFLAGS: DEBUG_INFO, KBUILD_BUILD_TIMESTAMP: '1970-01-01', KBUILD_BUILD_USER: 'ukl', KBUILD_BUILD_HOST: 'ukl' },
          });
        await make([`KCONFIG_ALLCONFIG=${fragmentFile}`, 'allnoconfig']);
        const config = await readFile(join(work, '.config'), 'utf8');
        const dropped = missingOptions(fragment, config);
        if (dropped.length > 0) {
          throw new UklError('UKL_KERNEL_CONFIG', `Kconfig did not take: ${dropped.join(', ')}`, {
            hint: 'what they depend on (depends on, in the Kconfig files) has to be set as well',
            log,
          });
        }
        let steps = 0;
        await make(['vmlinux', 'bzImage'], (line) => {
          if (/^ {2}(CC|AS|LD|AR)\s/.test(line)) steps++;
          progress(`${Math.min(99, Math.round((100 * steps) / EXPECTED_STEPS))} % ${line.trim().replace(/\s+/, ' ')}`);
        });
        if (modular(fragment)) {
          await make(['modules']);
          await mkdir(join(output, 'build'));
          await exec('cp', ['-r', '--parents', ...MODULE_BUILD, join(output, 'build')], { cwd: work, log });
        }
        await copyFile(join(work, 'arch/x86/boot/bzImage'), join(output, 'bzImage'));
        await copyFile(join(work, 'vmlinux'), join(output, 'vmlinux'));
        await copyFile(join(work, '.config'), join(output, 'config'));
        const hashes: Record<string, string> = {};
        for (const name of ['bzImage', 'vmlinux', 'config']) hashes[name] = await hashFile(join(output, name));
        await writeFile(join(output, 'hashes.json'), JSON.stringify(hashes));
      },
    },
    context,
  );
  return {
    flavour,
    version: source.version,
    bzImage: join(path, 'bzImage'),
    vmlinux: join(path, 'vmlinux'),
    config: join(path, 'config'),
    modules: modular(fragment) ? { source: source.path, build: join(path, 'build') } : undefined,
    hashes: JSON.parse(await readFile(join(path, 'hashes.json'), 'utf8')) as Record<string, string>,
  };
}

/** The vmlinux with symbols of a kernel in the store that has a file of this hash. */
export async function findKernel(sha256: string): Promise<string | undefined> {
  for (const name of await readdir(storeRoot()).catch(() => [])) {
    if (!name.startsWith('kernel-')) continue;
    const directory = join(storeRoot(), name);
    const hashes = await readFile(join(directory, 'hashes.json'), 'utf8').catch(() => '{}');
    if (Object.values(JSON.parse(hashes) as Record<string, string>).includes(sha256)) return join(directory, 'vmlinux');
  }
  return undefined;
}
