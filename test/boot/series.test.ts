// SPDX-License-Identifier: MIT
/** The gate of the patch series: what a kernel maintainer would check first. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULT_LINE, kernelLines, kernelSpec } from '../../src/kernels/lines.js';
import { getKernelSource, listGeneral, listSeries } from '../../src/kernels/source.js';
import { silentLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';

const run = promisify(execFile);
const big = { maxBuffer: 256 * 1024 * 1024 };
/** 550 are wanted; decision 0010 has what the rest is for. */
const MAX_ADDED_LINES = 725;
/** kmain(): 90 are wanted. */
const MAX_KMAIN_LINES = 105;
/** What modules need that serve system calls. */
const MAX_REPLACE_LINES = 25;
/** Of a patch that any Linux could use: one that is not small is a series of its own. */
const MAX_GENERAL_LINES = 90;

interface Patch {
  readonly path: string;
  readonly added: number;
  /** Objects that the patch's .c and .S files become. */
  readonly objects: readonly string[];
}

async function readPatch(path: string): Promise<Patch> {
  let added = 0;
  const objects: string[] = [];
  let documentation = false;
  for (const line of (await readFile(path, 'utf8')).split('\n')) {
    const file = /^\+\+\+ b\/(.*)$/.exec(line)?.[1];
    if (file !== undefined) {
      documentation = file.startsWith('Documentation/');
      // Included or linked from elsewhere, not an object of its own.
      if (/\.[cS]$/.test(file) && !/asm-offsets\.c$|\.lds\.S$/.test(file)) objects.push(file.replace(/\.[cS]$/, '.o'));
    } else if (line.startsWith('+') && !documentation) added++;
  }
  return { path, added, objects };
}

const series = await Promise.all((await listSeries(kernelLines.get(DEFAULT_LINE))).map(readPatch));
const general = await Promise.all((await listGeneral(kernelLines.get(DEFAULT_LINE))).map(readPatch));
const patches = [...series, ...general];

describe('outside Documentation/', () => {
  const kmain = series.filter(({ objects }) => objects.some((object) => object.endsWith('/kmain.o')));
  const replace = series.filter(({ path }) => basename(path).startsWith('0009-'));
  test(`at most ${MAX_ADDED_LINES} lines are added`, () => {
    const added = series.reduce((sum, patch) => sum + ([...kmain, ...replace].includes(patch) ? 0 : patch.added), 0);
    console.log(`the series adds ${added} lines`);
    expect(added).toBeGreaterThan(0);
    expect(added).toBeLessThanOrEqual(MAX_ADDED_LINES);
  });
  test(`kmain() adds at most ${MAX_KMAIN_LINES} lines`, () => expect(kmain.map(({ added }) => added <= MAX_KMAIN_LINES)).toEqual([true]));
  test(`the replacing of calls adds at most ${MAX_REPLACE_LINES} lines`, () => expect(replace.map(({ added }) => added <= MAX_REPLACE_LINES)).toEqual([true]));
  test.each(general)(`a general patch adds at most ${MAX_GENERAL_LINES} lines: $path`, ({ added }) => expect(added).toBeLessThanOrEqual(MAX_GENERAL_LINES));
});

describe('against the tree', () => {
  let work: string;
  let patched: string;
  let stock: string;
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'ukl-series-'));
    patched = (await getKernelSource(kernelSpec('ukl'), { log: silentLog })).path;
    stock = (await getKernelSource(kernelSpec('stock'), { log: silentLog })).path;
  });
  afterAll(() => rm(work, { recursive: true, force: true }));

  test.each(patches)('checkpatch --strict: $path', async ({ path }) => {
    // What git tracks, checkpatch takes for a source file rather than a patch.
    const copy = join(work, basename(path));
    await copyFile(path, copy);
    const { stdout, stderr } = await run('perl', ['scripts/checkpatch.pl', '--strict', copy], { ...big, cwd: patched }).catch(
      (error: { stdout: string; stderr: string }) => error,
    );
    expect(stdout, stderr).toMatch(/total: 0 errors, 0 warnings, 0 checks/);
  });

  /** Builds objects out of the tree, with or without CONFIG_UKL. */
  async function build(tree: string, out: string, fragments: readonly string[], objects: readonly string[]): Promise<void> {
    await mkdir(out, { recursive: true });
    const texts = await Promise.all(fragments.map((name) => readFile(join(projectRoot, 'kernel/6.12/config', name), 'utf8')));
    // Line numbers in BUG tables would differ for no reason; #MC is part of the series.
    await writeFile(join(out, 'fragment'), `${texts.join('\n').replace('CONFIG_DEBUG_BUGVERBOSE=y', 'CONFIG_DEBUG_BUGVERBOSE=n')}\nCONFIG_X86_MCE=y\n`);
    await run('make', ['-C', tree, `O=${out}`, `KCONFIG_ALLCONFIG=${join(out, 'fragment')}`, 'allnoconfig'], big);
    await run('make', ['-C', tree, `O=${out}`, `-j${availableParallelism()}`, ...objects], big);
  }

  test('each patch applies without fuzz and builds with CONFIG_UKL', { timeout: 1_200_000 }, async () => {
    const tree = join(work, 'tree');
    await run('cp', ['-a', '--reflink=auto', stock, tree]);
    const objects = new Set<string>();
    for (const patch of patches) {
      const { stdout } = await run('patch', ['-p1', '-F0', '--batch', '--forward', '-d', tree, '-i', patch.path]);
      expect(stdout, basename(patch.path)).not.toMatch(/with fuzz|offset -?\d+ line|FAILED/);
      for (const object of patch.objects) objects.add(object);
      await build(tree, join(work, 'each'), ['core.config', 'server.config', 'ukl.config', 'ukl-server.config'], [...objects]);
    }
  });

  test('CONFIG_UKL=n leaves the touched objects as stock', { timeout: 1_200_000 }, async () => {
    // The general patches change what any kernel is.
    const ours = join(work, 'series');
    await run('cp', ['-a', '--reflink=auto', stock, ours]);
    for (const patch of series) await run('patch', ['-p1', '-F0', '--batch', '--forward', '-d', ours, '-i', patch.path]);
    const touched = [...new Set(series.flatMap((patch) => patch.objects))].filter((object) => !/\/(ukl|kmain)\.o$/.test(object));
    const dump = async (tree: string, out: string): Promise<string[]> => {
      await build(tree, out, ['core.config', 'server.config'], touched);
      return Promise.all(
        touched.map(async (object) => {
          const { stdout } = await run('objdump', ['-s', '-r', '-h', join(out, object)], big);
          return stdout.replace(/^.*file format.*$/m, '');
        }),
      );
    };
    const before = await dump(stock, join(work, 'stock'));
    const after = await dump(ours, join(work, 'off'));
    for (const [index, object] of touched.entries()) expect(after[index] === before[index], object).toBe(true);
  });
});
