// SPDX-License-Identifier: MIT
import { chmod, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { kernelSpec } from '../../src/kernels/lines.js';
import { getKernelSource } from '../../src/kernels/source.js';
import { exec } from '../../src/lib/exec.js';
import { fromStore, type StoreContext } from '../../src/store/store.js';
import type { TestSet } from './sets.js';

/** What every test includes. */
const COMMON = ['lib.mk', 'kselftest.h', 'kselftest_harness.h', 'kselftest'].map((name) => `tools/testing/selftests/${name}`);

export interface BuiltSet {
  readonly set: TestSet;
  /** Programs and scripts, side by side. */
  readonly directory: string;
  /** The names of its tests, as its makefile has them. */
  readonly tests: readonly string[];
  /** The tests that did not compile with this host's headers. */
  readonly missing: readonly string[];
  /** 32-bit tests, which are left out. */
  readonly narrow: readonly string[];
}

interface Tests {
  readonly tests: readonly string[];
  readonly missing: readonly string[];
  readonly narrow: readonly string[];
}

/** The kernel's headers for programs: newer than the host's. */
async function getHeaders(context: StoreContext): Promise<string> {
  const source = await getKernelSource(kernelSpec('stock'), context);
  const path = await fromStore(
    {
      kind: 'kernel-headers',
      title: "install the kernel's headers",
      key: { tarball: source.tarball },
      make: async ({ output, work, log }) => {
        await exec('make', ['-C', source.path, `O=${work}`, 'headers'], { log, signal: context.signal });
        await cp(join(work, 'usr/include'), join(output, 'include'), { recursive: true });
      },
    },
    context,
  );
  return join(path, 'include');
}

/**
 * A directory of kselftest, compiled with the headers of its own kernel. All
 * happens in a copy: the kernel's source is never written to.
 */
export async function buildSet(set: TestSet, context: StoreContext): Promise<BuiltSet> {
  const source = await getKernelSource(kernelSpec('stock'), context);
  const headers = await getHeaders(context);
  const compiler = (await exec('gcc', ['-dumpfullversion'])).trim();
  const path = await fromStore(
    {
      kind: `kselftest-${set.name}`,
      title: `compile kselftest's ${set.name}`,
      key: { tarball: source.tarball, compiler, directory: set.directory, make: set.make, sources: set.sources ?? [] },
      make: async ({ output, work, log }) => {
        const copy = join(work, 'copy');
        const tests = join(copy, 'tools/testing/selftests', set.directory);
        const built = join(output, 'tests');
        await rm(work, { recursive: true, force: true });
        await mkdir(copy, { recursive: true });
        await mkdir(built);
        await exec('cp', ['-r', '--parents', ...COMMON, join('tools/testing/selftests', set.directory), 'tools/include', ...(set.sources ?? []), copy], {
          cwd: source.path,
          log,
        });
        const make = (args: readonly string[]): Promise<string> =>
          exec('make', ['-C', tests, ...args, `OUTPUT=${built}`, `KHDR_INCLUDES=-isystem ${headers}`], { log, signal: context.signal });
        // What does not compile is told from what is there afterwards.
        await make(['-k', ...(set.make.length > 0 ? set.make : ['all'])]).catch(() => {
          context.signal?.throwIfAborted();
        });
        const listing = await make(['-s', '--no-print-directory', 'emit_tests', ...set.make.filter((word) => word.includes('='))]);
        const names = [...listing.matchAll(/^[^:\s]*:(\S+)$/gm)].map((match) => basename(match[1] ?? ''));
        const narrow = names.filter((name) => name.endsWith('_32'));
        for (const name of names.filter((one) => one.endsWith('.sh'))) {
          await cp(join(tests, name), join(built, name));
          await chmod(join(built, name), 0o755);
        }
        const there = (await exec('ls', [built])).split('\n');
        const wanted = names.filter((name) => !narrow.includes(name));
        const result: Tests = { tests: wanted.filter((name) => there.includes(name)), missing: wanted.filter((name) => !there.includes(name)), narrow };
        await writeFile(join(output, 'tests.json'), JSON.stringify(result));
      },
    },
    context,
  );
  return { set, directory: join(path, 'tests'), ...(JSON.parse(await readFile(join(path, 'tests.json'), 'utf8')) as Tests) };
}
