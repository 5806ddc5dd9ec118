// SPDX-License-Identifier: MIT
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Kernel, KernelFlavour } from '../artifacts.js';
import { exec } from '../lib/exec.js';
import { UklError } from '../lib/errors.js';
import { hashFile } from '../lib/hash.js';
import { projectRoot, storeRoot } from '../lib/paths.js';
import { getKernelSource } from './source.js';
import { fromStore, listStore, type StoreContext } from './store.js';

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

/**
 * The options that a fragment asks for and a .config lacks. Kconfig drops an
 * option whose dependencies are missing without a word.
 */
export function missingOptions(fragment: string, config: string): string[] {
  const have = new Set(config.split('\n'));
  const off = (name: string): boolean => !config.includes(`\n${name}=`);
  return fragment
    .split('\n')
    .filter((line) => line.startsWith('CONFIG_'))
    .filter((line) => {
      const [name = '', value] = line.split('=');
      return value === 'n' ? !off(name) : !have.has(line);
    });
}

const modular = (fragment: string): boolean => /^CONFIG_MODULES=y$/m.test(fragment);

/**
 * A built kernel from the store. The build is out of the source tree, in a
 * scratch directory which make resumes after an interruption.
 *
 * @throws UKL_KERNEL_CONFIG if Kconfig dropped an option, UKL_COMMAND if make fails
 */
export async function getKernel(
  flavour: KernelFlavour,
  context: StoreContext,
  options: { readonly tarball?: string | undefined } = {},
): Promise<Kernel> {
  const source = await getKernelSource({ patched: flavour === 'ukl', tarball: options.tarball }, context);
  const texts = await Promise.all(
    FRAGMENTS[flavour].map((name) => readFile(join(projectRoot, 'kernel/config', name), 'utf8')),
  );
  const fragment = texts.join('\n');
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
            hint: 'a dependency is missing in kernel/config',
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
  for (const { name } of await listStore()) {
    if (!name.startsWith('kernel-')) continue;
    const directory = join(storeRoot(), name);
    const hashes = await readFile(join(directory, 'hashes.json'), 'utf8').catch(() => '{}');
    if (Object.values(JSON.parse(hashes) as Record<string, string>).includes(sha256)) return join(directory, 'vmlinux');
  }
  return undefined;
}
