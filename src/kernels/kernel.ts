// SPDX-License-Identifier: MIT
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { exec } from '../lib/exec.js';
import { hashFile } from '../lib/hash.js';
import { storeRoot } from '../lib/paths.js';
import type { ArcCounts, Kernel, KernelProfile, KernelSpec } from '../model/index.js';
import type { Prebuilt } from '../store/prebuilt.js';
import { fromStore, type StoreContext } from '../store/store.js';
import { configure, readFragment, readOptions } from './kconfig.js';
import { kernelLines } from './lines.js';
import { getKernelSource, type KernelSource, type SourceKey, sourceKey } from './source.js';

/** Lines and unwind tables for gdb, no types: a tenth of the full debug information. The bzImage has none. */
const DEBUG_INFO = '-g1';

/** What the build of a module needs of the kernel's (as in Debian's linux-headers), besides the source. */
const MODULE_BUILD = ['.config', 'Module.symvers', 'include', 'arch/x86/include/generated', 'scripts', 'tools/objtool/objtool'];

/** SHA-256 by the name of the file. */
const hashesSchema = z.record(z.string(), z.string());

/** Roughly how many objects the build compiles; only for the progress shown. */
const EXPECTED_STEPS: Readonly<Record<KernelProfile, number>> = { server: 1800, hardware: 4000, hello: 620 };

/** What decides of a fragment: a comment is no reason to build again. */
const optionsKey = (fragment: string): readonly string[] => [...readOptions(fragment)].map(([name, value]) => `${name}=${value}`).sort();

const modular = (fragment: string): boolean => readOptions(fragment).get('CONFIG_MODULES') === 'y';

/** The version that Kconfig writes into the head of a .config. */
const versionIn = (config: string): string => /^# Linux\/\S+ (\S+) Kernel Configuration$/m.exec(config)?.[1] ?? 'unknown';

/** The line's fragments, and the spec's own, as one. */
async function readFragments({ line, flavour, profile, options, fragments }: KernelSpec): Promise<string> {
  const ours = kernelLines.get(line).config[profile][flavour].map((path) => readFile(path, 'utf8'));
  return (await Promise.all([...ours, (options ?? []).join('\n'), ...fragments.map(readFragment)])).join('\n');
}

type Make = (targets: readonly string[], onLine?: (line: string) => void) => Promise<string>;

/** For a kernel that counts how often each arc of its functions is taken: Documentation/dev-tools/gcov.rst. */
export const COUNTING = ['CONFIG_DEBUG_FS=y', 'CONFIG_GCOV_KERNEL=y', 'CONFIG_GCOV_PROFILE_ALL=y'] as const;

/**
 * Has GCC optimise what is compiled in `work` for counts. Those of a function that
 * was running when they were read do not add up (-fprofile-correction); a function
 * that the configuration makes another than the counted one goes without.
 */
export const flagsFor = ({ directory }: ArcCounts, work: string): string =>
  `-fprofile-use=${directory} -fprofile-prefix-path=${work} -fprofile-correction -Wno-missing-profile -Wno-coverage-mismatch`;

/** make, out of the source tree. */
function makeIn(work: string, source: KernelSource, log: string, { signal }: StoreContext, counts?: ArcCounts): Make {
  const flags = counts === undefined ? DEBUG_INFO : `${DEBUG_INFO} ${flagsFor(counts, work)}`;
  return (targets, onLine) =>
    // If we are killed, compilers go on for a while: the lock is theirs as long as one of them lives.
    exec('flock', [join(work, '.lock'), 'make', '-C', source.path, `O=${work}`, `-j${availableParallelism()}`, ...targets], {
      log,
      signal,
      ...(onLine ? { onLine } : {}),
      // The same inputs give the same bits.
      env: { KCFLAGS: flags, KBUILD_BUILD_TIMESTAMP: '1970-01-01', KBUILD_BUILD_USER: 'ukl', KBUILD_BUILD_HOST: 'ukl' },
    });
}

const getCompilerVersion = async (): Promise<string> => (await exec('gcc', ['-dumpfullversion'])).trim();

/** The .config that Kconfig makes of our fragments: every option of the kernel, without building it. */
export async function getKernelConfig(spec: KernelSpec, context: StoreContext): Promise<string> {
  const { flavour } = spec;
  const fragment = await readFragments(spec);
  const source = await getKernelSource(spec, context);
  const path = await fromStore(
    {
      kind: `config-${flavour}`,
      title: `configure Linux ${source.version} (${flavour})`,
      key: { tarball: source.tarball, patches: source.patches, options: optionsKey(fragment), compiler: await getCompilerVersion() },
      make: async ({ output, work, log }) => {
        await configure(fragment, work, makeIn(work, source, log, context), log);
        await copyFile(join(work, '.config'), join(output, 'config'));
      },
    },
    context,
  );
  return readFile(join(path, 'config'), 'utf8');
}

/** Where a release carries a kernel, by all that determines it but the compiler. */
function prebuiltOf({ line, flavour, profile }: KernelSpec, source: SourceKey, options: readonly string[]): Prebuilt {
  return { name: `kernel-${line}-${flavour}${profile === 'server' ? '' : `-${profile}`}`, key: { ...source, options, debug: DEBUG_INFO } };
}

export async function prebuiltKernel(spec: KernelSpec): Promise<Prebuilt> {
  return prebuiltOf(spec, await sourceKey(spec), optionsKey(await readFragments(spec)));
}

/**
 * A built kernel from the store. The build is out of the source tree, in a
 * scratch directory which make resumes after an interruption.
 *
 * @throws UKL_KERNEL_CONFIG if Kconfig dropped an option, UKL_NO_FILE, UKL_COMMAND if make fails
 */
export async function getKernel(spec: KernelSpec, context: StoreContext): Promise<Kernel> {
  const { line, flavour, counts } = spec;
  const fragment = await readFragments(spec);
  const source = await sourceKey(spec);
  const options = optionsKey(fragment);

  const path = await fromStore(
    {
      kind: `kernel-${flavour}`,
      title: `build Linux ${line} (${flavour}${spec.profile === 'server' ? '' : `, ${spec.profile}`}${counts === undefined ? '' : ', optimised'})`,
      key: {
        ...{ tarball: source.tarball, patches: source.patches, options, compiler: await getCompilerVersion(), debug: DEBUG_INFO },
        ...(counts === undefined ? {} : { counts: counts.id }),
      },
      ...(counts === undefined ? { prebuilt: prebuiltOf(spec, source, options) } : {}),
      make: async ({ output, work, progress, log }) => {
        const make = makeIn(work, await getKernelSource(spec, context), log, context, counts);
        await configure(fragment, work, make, log);
        let steps = 0;
        await make(['vmlinux', 'bzImage'], (line) => {
          if (/^ {2}(CC|AS|LD|AR)\s/.test(line)) steps++;
          progress(`${Math.min(99, Math.round((100 * steps) / EXPECTED_STEPS[spec.profile]))} % ${line.trim().replace(/\s+/, ' ')}`);
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
    line,
    flavour,
    version: versionIn(await readFile(join(path, 'config'), 'utf8')),
    bzImage: join(path, 'bzImage'),
    vmlinux: join(path, 'vmlinux'),
    config: join(path, 'config'),
    spec,
    modules: modular(fragment) ? join(path, 'build') : undefined,
    hashes: hashesSchema.parse(JSON.parse(await readFile(join(path, 'hashes.json'), 'utf8'))),
  };
}

/** Where the store has the kernel that has a file of this hash. */
async function findInStore(sha256: string): Promise<string | undefined> {
  for (const name of await readdir(storeRoot()).catch(() => [])) {
    if (!name.startsWith('kernel-')) continue;
    const directory = join(storeRoot(), name);
    const hashes = await readFile(join(directory, 'hashes.json'), 'utf8').catch(() => '{}');
    if (Object.values(hashesSchema.parse(JSON.parse(hashes))).includes(sha256)) return directory;
  }
  return undefined;
}

/** The vmlinux with symbols of a kernel in the store that has a file of this hash. */
export async function findKernel(sha256: string): Promise<string | undefined> {
  const directory = await findInStore(sha256);
  return directory === undefined ? undefined : join(directory, 'vmlinux');
}

/** What a kernel in the store that has a file of this hash was built with. */
export async function readKernelOptions(sha256: string): Promise<ReadonlyMap<string, string> | undefined> {
  const directory = await findInStore(sha256);
  return directory === undefined ? undefined : readOptions(await readFile(join(directory, 'config'), 'utf8'));
}
