// SPDX-License-Identifier: MIT
/**
 * glibc's own tests, run by its own makefiles and test wrapper, in two guests of
 * the same VMM: our library in ring 0 of our kernel, and Debian's in ring 3 of
 * the unpatched one. Prints what differs; docs/notes/glibc-tests.md explains it.
 *
 *     npx tsx test/glibc/run.ts [--again] [--jobs N] [--times N] [SUBSET | SUBSET/TEST]...
 */

import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { allRequirements } from '../../src/doctor/doctor.js';
import { ensurePackages } from '../../src/host/requirements.js';
import { UklError } from '../../src/lib/errors.js';
import { withLock } from '../../src/lib/lock.js';
import { createLog, type Log } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { exitWith } from '../batch/command.js';
import { buildTree, compileTests, FLAVOURS, type Flavour, LEFT_OUT, make, type Tree, treeRoot } from './build.js';
import { startTestGuest } from './guest.js';
import { compareResults, countResults, formatResults, type Results, readResults } from './results.js';

const SUBSETS = ['setjmp', 'signal', 'nptl', 'socket', 'time', 'misc', 'posix', 'stdio-common', 'malloc', 'string'];
const RESULTS = join(projectRoot, '.ukl/glibc-tests');
/** How often a test is run again, alone, if the two sides differ. */
const TIMES = 5;
/** How often a test is run whose connection broke. */
const ATTEMPTS = 3;

const PACKAGES = [
  { package: 'dropbear-bin', why: 'takes commands in the guest', file: '/usr/sbin/dropbear' },
  { package: 'openssh-client', why: "glibc's test wrapper", file: '/usr/bin/ssh' },
  { package: 'g++', why: 'some tests are C++', file: '/usr/bin/g++' },
];

interface Work {
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly jobs: number;
}

/**
 * Status 255 is ssh's own: the connection broke, or the guest went away. Removes
 * such results, so that make runs those tests again; returns how many.
 */
async function forgetCutOff(tree: Tree, subset: string): Promise<number> {
  const directory = join(tree.build, subset);
  let count = 0;
  for (const file of await readdir(directory)) {
    if (!file.endsWith('.test-result') || !(await readFile(join(directory, file), 'utf8')).includes('exit status 255')) continue;
    for (const ending of ['.test-result', '.out']) await rm(join(directory, file.replace('.test-result', ending)), { force: true });
    count++;
  }
  return count;
}

/** Runs one directory's tests, unless that is done. */
async function runSubset(tree: Tree, subset: string, statics: readonly string[], { log, signal, jobs }: Work): Promise<Results> {
  const sum = join(tree.build, subset, 'subdir-tests.sum');
  if (existsSync(sum)) return readResults(tree, subset);
  await log.step(`run the tests of ${subset} (${tree.flavour})`, async (progress) => {
    await forgetCutOff(tree, subset);
    await using guest = await startTestGuest(
      tree,
      statics.map((name) => `${subset}/${name}`),
      signal,
    );
    const onLine = (line: string): void => {
      const test = /evaluate-test\.sh (\S+)/.exec(line)?.[1];
      if (test !== undefined) progress(test);
    };
    // A test that itself ends with 255 does so each time.
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      await guest.make(subset, [...LEFT_OUT, 'tests'], { jobs, onLine });
      if (attempt === ATTEMPTS || (await forgetCutOff(tree, subset)) === 0) break;
      await rm(sum);
    }
  });
  return readResults(tree, subset);
}

/** Runs single tests, `times` times, one at a time; returns their results in order. */
async function repeat(tree: Tree, tests: readonly string[], times: number, { log, signal }: Work): Promise<Map<string, string[]>> {
  const results = new Map<string, string[]>();
  for (const test of tests) {
    const [subset = '', name = ''] = test.split('/');
    const statics = await compileTests(tree, subset, log, signal);
    await log.step(`run ${test} ${times} times (${tree.flavour})`, async (progress) => {
      await using guest = await startTestGuest(tree, statics.includes(name) ? [test] : [], signal);
      const seen: string[] = [];
      for (let time = 1; time <= times; time++) {
        for (const ending of ['out', 'test-result']) await rm(join(tree.build, subset, `${name}.${ending}`), { force: true });
        await guest.make(subset, [...LEFT_OUT, join(tree.build, subset, `${name}.out`)], { jobs: 1 });
        seen.push(/^[A-Z]+/.exec(await readFile(join(tree.build, subset, `${name}.test-result`), 'utf8'))?.[0] ?? '?');
        progress(seen.join(' '));
      }
      results.set(test, seen);
    });
  }
  return results;
}

async function repeatInBoth(trees: Readonly<Record<Flavour, Tree>>, tests: readonly string[], times: number, work: Work): Promise<void> {
  const stock = await repeat(trees.stock, tests, times, work);
  const ukl = await repeat(trees.ukl, tests, times, work);
  for (const test of tests) process.stdout.write(`${test}: alone, ${times} times: stock ${stock.get(test)?.join(' ')}; ukl ${ukl.get(test)?.join(' ')}\n`);
}

/** One directory in both flavours at the same time, so that both see the same host. */
async function runInBoth(trees: Readonly<Record<Flavour, Tree>>, subset: string, again: boolean, work: Work): Promise<Record<Flavour, Results>> {
  const statics: Record<Flavour, string[]> = { ukl: [], stock: [] };
  for (const flavour of FLAVOURS) {
    if (again) {
      await make(trees[flavour], subset, ['do-tests-clean'], { signal: work.signal });
      await rm(join(trees[flavour].build, subset, 'subdir-tests.sum'), { force: true });
    }
    statics[flavour] = await compileTests(trees[flavour], subset, work.log, work.signal);
  }
  const ukl = runSubset(trees.ukl, subset, statics.ukl, work);
  const stock = runSubset(trees.stock, subset, statics.stock, work);
  // If one fails, the other is still brought to its end, and is done for the next run.
  await Promise.allSettled([ukl, stock]);
  return { ukl: await ukl, stock: await stock };
}

async function runSubsets(trees: Readonly<Record<Flavour, Tree>>, subsets: readonly string[], again: boolean, times: number, work: Work): Promise<boolean> {
  const all: Record<Flavour, Map<string, string>> = { stock: new Map(), ukl: new Map() };
  for (const subset of subsets) {
    const results = await runInBoth(trees, subset, again, work);
    for (const flavour of FLAVOURS) {
      for (const [test, result] of results[flavour]) all[flavour].set(test, result);
      process.stdout.write(`${subset} (${flavour}): ${results[flavour].size} tests ${JSON.stringify(countResults(results[flavour]))}\n`);
    }
  }
  await mkdir(RESULTS, { recursive: true });
  for (const flavour of FLAVOURS) await writeFile(join(RESULTS, `${flavour}.sum`), formatResults(all[flavour]));
  const differences = compareResults(all.stock, all.ukl);
  for (const { test, stock, ukl } of differences) process.stdout.write(`differs: ${test}: stock ${stock}, ukl ${ukl}\n`);
  process.stdout.write(`${all.stock.size} tests, ${differences.length} differ; lists in ${RESULTS}\n`);
  await repeatInBoth(
    trees,
    differences.map(({ test }) => test),
    times,
    work,
  );
  return differences.length === 0;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { again: { type: 'boolean', default: false }, jobs: { type: 'string', default: '1' }, times: { type: 'string', default: String(TIMES) } },
  });
  const names = positionals.length > 0 ? positionals : SUBSETS;
  const unknown = names.find((name) => !SUBSETS.includes(name.split('/')[0] ?? ''));
  if (unknown !== undefined) throw new UklError('UKL_USAGE', `'${unknown}' is not one of ${SUBSETS.join(', ')}, nor a test of one`);
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(name, () => controller.abort(new UklError('UKL_COMMAND', `interrupted by ${name}; the next run goes on from here`)));
  const work = { log: createLog(), signal: controller.signal, jobs: Number(values.jobs) };
  await ensurePackages(work.log, [...allRequirements(), ...PACKAGES], work.signal);
  return withLock(treeRoot, () => runAll(names, values.again, Number(values.times), work), {
    onWait: () => work.log.info('waiting: another run uses the same trees'),
    signal: work.signal,
  });
}

async function runAll(names: readonly string[], again: boolean, times: number, work: Work): Promise<number> {
  const trees = { stock: await buildTree('stock', work.log, work.signal), ukl: await buildTree('ukl', work.log, work.signal) };
  const tests = names.filter((name) => name.includes('/'));
  const subsets = names.filter((name) => !name.includes('/'));
  if (tests.length > 0) await repeatInBoth(trees, tests, times, work);
  const same = subsets.length === 0 || (await runSubsets(trees, subsets, again, times, work));
  return same ? 0 : 1;
}

await exitWith(main);
