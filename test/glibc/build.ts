// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { exec } from '../../src/lib/exec.js';
import { hashValue } from '../../src/lib/hash.js';
import type { Log } from '../../src/lib/log.js';
import { projectRoot, storeRoot } from '../../src/lib/paths.js';
import { CONFIGURE_VARIABLES, configureArgs, hashSource, unpackSource, VERSION } from '../../src/libc/glibc.js';

/** Ours, with the subtree, for ring 0; Debian's, for the unpatched kernel. */
export const FLAVOURS = ['ukl', 'stock'] as const;
export type Flavour = (typeof FLAVOURS)[number];

/** configure looks for the subtree by this name. */
const HOSTS: Readonly<Record<Flavour, string>> = { ukl: 'x86_64-ukl-linux-gnu', stock: 'x86_64-linux-gnu' };

/** As the library is built for the store, and with its programs: locales need localedef. */
const CONFIGPARMS = `slibdir = /lib/x86_64-linux-gnu
libdir = /usr/lib/x86_64-linux-gnu
rtlddir = /lib64
`;

/** Roughly how many lines of make's output are a compilation. */
const EXPECTED_STEPS = 9700;

const PREPARE = join(projectRoot, 'test/glibc/prepare.mk');

/**
 * Variables for make that leave out what does not run in a guest: compiling each
 * installed header, and gdb with the pretty printers.
 */
export const LEFT_OUT = ['headers=', 'tests-printers='] as const;

export interface Tree {
  readonly flavour: Flavour;
  /** The same for both flavours. */
  readonly source: string;
  readonly build: string;
  readonly log: string;
}

/** Source and builds: kept, and seen by the guests at the same path. */
export const treeRoot = join(storeRoot(), 'glibc-tests');

/**
 * glibc in one flavour, built as a whole. Interrupted, it goes on from there;
 * when what it is made of has changed, it begins anew.
 */
export async function buildTree(flavour: Flavour, log: Log, signal: AbortSignal): Promise<Tree> {
  const source = join(treeRoot, `glibc-${VERSION}`);
  const build = join(treeRoot, flavour);
  const tree = { flavour, source, build, log: join(treeRoot, `${flavour}.log`) };
  const key = hashValue([await hashSource(), configureArgs(''), CONFIGURE_VARIABLES, CONFIGPARMS, await exec('gcc', ['-dumpfullversion'])]);
  const stamp = join(treeRoot, 'key');
  if ((await readFile(stamp, 'utf8').catch(() => '')) !== key) {
    await log.step('unpack glibc', async () => {
      await rm(treeRoot, { recursive: true, force: true });
      await mkdir(treeRoot, { recursive: true });
      await unpackSource(treeRoot, { log: tree.log, signal });
      await writeFile(stamp, key);
    });
  }
  const complete = join(build, 'complete');
  if (existsSync(complete)) return tree;
  await log.step(`build glibc ${VERSION} (${flavour})`, async (progress) => {
    if (!existsSync(join(build, 'config.make'))) {
      await mkdir(build, { recursive: true });
      await writeFile(join(build, 'configparms'), CONFIGPARMS);
      await exec(join(source, 'configure'), [...configureArgs(HOSTS[flavour]), ...CONFIGURE_VARIABLES], { cwd: build, log: tree.log, signal });
    }
    let steps = 0;
    await make(tree, '.', ['all'], {
      signal,
      onLine: (line) => {
        if (/^gcc .* -o /.test(line)) progress(`${Math.min(99, Math.round((100 * ++steps) / EXPECTED_STEPS))} %`);
      },
    });
    // For tests in containers. An installed library belongs there, but the kernels
    // have no user namespaces: support/test-container says UNSUPPORTED in any case.
    for (const name of ['testroot.pristine', 'testroot.root']) await mkdir(join(build, name), { recursive: true });
    // Only the tests of iconvdata ask for these, and those of other directories need them.
    await make(
      tree,
      'iconvdata',
      ['gconv-modules', 'gconv-modules.d/gconv-modules-extra.conf'].map((name) => join(build, 'iconvdata', name)),
      { signal },
    );
    await writeFile(complete, '');
  });
  return tree;
}

/** make in one of glibc's directories ("." for all of it); returns what it prints. */
export async function make(
  tree: Tree,
  subset: string,
  args: readonly string[],
  options: { signal: AbortSignal; jobs?: number; onLine?: (line: string) => void },
): Promise<string> {
  const where = subset === '.' ? ['-C', tree.build] : ['-C', join(tree.source, subset), `objdir=${tree.build}`];
  return exec('make', ['-r', `-j${options.jobs ?? availableParallelism()}`, ...where, ...args], {
    log: tree.log,
    signal: options.signal,
    ...(options.onLine ? { onLine: options.onLine } : {}),
  });
}

/** Compiles a directory's tests, on the host. Returns the names of the static ones. */
export async function compileTests(tree: Tree, subset: string, log: Log, signal: AbortSignal): Promise<string[]> {
  const withRules = ['-f', 'Makefile', '-f', PREPARE, ...LEFT_OUT];
  return log.step(`compile the tests of ${subset} (${tree.flavour})`, async (progress) => {
    await make(tree, subset, ['-k', ...withRules, 'ukl-prepare'], {
      signal,
      onLine: (line) => {
        const made = / -o \S*?([^/\s]+) /.exec(line)?.[1];
        if (made !== undefined) progress(made);
      },
    });
    const names = await make(tree, subset, ['-s', '--no-print-directory', ...withRules, 'ukl-static'], { signal, jobs: 1 });
    return names.split(/\s+/).filter((name) => name !== '');
  });
}
