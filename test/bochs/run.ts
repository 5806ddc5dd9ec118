// SPDX-License-Identifier: MIT
/**
 * The programs of test/guest, in ring 0, on processors of Bochs: an emulator
 * that shares no code with QEMU, and takes other liberties where Intel and AMD
 * leave any.
 *
 *     npx tsx test/bochs/run.ts [--note] [--cpu MODEL]... [NAME]...
 */

import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { allRequirements } from '../../src/doctor/doctor.js';
import { ensurePackages } from '../../src/host/requirements.js';
import { getKernel } from '../../src/kernels/kernel.js';
import { kernelSpec } from '../../src/kernels/lines.js';
import { UklError } from '../../src/lib/errors.js';
import { exec } from '../../src/lib/exec.js';
import { createLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { getCompiler } from '../../src/libc/compiler.js';
import type { Kernel } from '../../src/model/index.js';
import { type Context, compileStatic, complaintsIn } from '../batch/batch.js';
import { exitWith } from '../batch/command.js';
import { table, writeNote } from '../batch/note.js';
import { boot, MAX_PROGRAMS, type Machine, PACKAGES, type Program, type Result } from './machine.js';
import { EXCUSES, LEFT_OUT, MODELS, type Model } from './models.js';

const SOURCES = join(projectRoot, 'test/guest');
const OUTPUTS = join(projectRoot, '.ukl/bochs');
const CPUS = 2;

/** How the programs are linked: their system calls are instructions, or calls. */
const BUILDS = ['host', 'linked'] as const;
type Build = (typeof BUILDS)[number];

interface Job extends Program {
  readonly name: string;
  readonly build: Build;
  readonly expected: string;
}

interface Verdict {
  readonly path: string;
  /** Empty if it passed. */
  readonly faults: readonly string[];
}

interface Tally {
  readonly model: string;
  readonly version: string;
  readonly kernel: string;
  readonly verdicts: readonly Verdict[];
  /** What the kernel says of the model before any program runs. */
  readonly said: readonly string[];
}

async function compile(names: readonly string[], directory: string, context: Context): Promise<Job[]> {
  const linked = join((await getCompiler('complete', context)).bin, 'ukl-gcc');
  const jobs: Job[] = [];
  for (const build of BUILDS) {
    await mkdir(join(directory, build));
    for (const name of names) {
      const host = join(directory, build, name);
      await exec(build === 'host' ? 'gcc' : linked, ['-O2', '-static', '-pthread', '-o', host, join(SOURCES, `${name}.c`), '-lm', '-lrt'], {
        signal: context.signal,
      });
      jobs.push({ name, build, host, path: `/${build}/${name}`, expected: await readFile(join(SOURCES, `${name}.out`), 'utf8') });
    }
  }
  return jobs;
}

/** How many lines a report of the kernel's may have. */
const REPORT_LINES = 60;

/** The complaints on a console that Bochs has no part in. */
function unexcused(console: readonly string[]): string[] {
  const words = console.map((line) => line.replace(/^\[ *[\d.]+\] */, ''));
  return complaintsIn(words).filter((complaint) => {
    const report = words.slice(words.indexOf(complaint) + 1).slice(0, REPORT_LINES);
    return !EXCUSES.some(({ complaint: known, behind }) => known.test(complaint) && report.some((line) => behind.test(line)));
  });
}

/** What is wrong with a result, in lines. */
function faultsOf({ expected }: Job, { stdout, end, console }: Result): string[] {
  const complaints = unexcused(console);
  const ended = end === 'exit 0' ? [] : [end];
  // What a program says last tells where it failed.
  const printed = stdout === expected ? [] : [`printed ${JSON.stringify(stdout.slice(-300))}`];
  // A dead machine's console tells more than its complaints.
  const said = end.startsWith('machine: ') ? console.slice(-20) : complaints;
  return [...ended, ...printed, ...said.map((line) => `console: ${line}`)];
}

/** All jobs on one machine, in as many boots as it takes: what brings it down costs its own result only. Each boot's results are remembered. */
async function runModel(model: Model, jobs: readonly Job[], { bzImage, version: kernel }: Kernel, init: string, context: Context): Promise<Tally> {
  const machine: Machine = { model: model.name, cpus: CPUS, kernelArgs: model.kernelArgs };
  const version = (await exec('dpkg-query', ['-W', '-f', '${Version}', 'bochs'])).trim();
  const verdicts: Verdict[] = [];
  const said: string[] = [];
  const tally: Tally = { model: model.name, version, kernel, verdicts, said };
  let left = [...jobs];
  for (let number = 1; left.length > 0; number++) {
    const batch = left.slice(0, MAX_PROGRAMS);
    const { results, console, end } = await context.log.step(`${model.name}: ${batch[0]?.path} to ${batch.at(-1)?.path}`, (progress) =>
      boot(machine, bzImage, init, batch, join(OUTPUTS, `${model.name}-${number}`), progress, context),
    );
    if (number === 1) said.push(...complaintsIn(console));
    if (results.length === 0)
      throw new UklError('UKL_VMM', `${model.name} did not get to the first program: ${end}`, {
        details: console.slice(-20).join('\n'),
        log: join(OUTPUTS, `${model.name}-${number}.console`),
      });
    for (const job of batch) {
      const result = results.find(({ path }) => path === job.path);
      if (!result) continue;
      const faults = faultsOf(job, result);
      verdicts.push({ path: job.path, faults });
      process.stdout.write(`${model.name} ${job.path}: ${faults.length === 0 ? 'ok' : 'FAILED'}\n${faults.map((line) => `    ${line}\n`).join('')}`);
    }
    await rememberTally(tally);
    left = left.filter(({ path }) => !results.some((result) => result.path === path));
  }
  return tally;
}

const failed = ({ verdicts }: Tally): Verdict[] => verdicts.filter(({ faults }) => faults.length > 0);
const passed = (tally: Tally): string => `${tally.verdicts.length - failed(tally).length} of ${tally.verdicts.length}`;

const tallyFile = (model: string): string => join(OUTPUTS, `${model}.json`);

/** The last results on each processor. */
async function recallTallies(): Promise<Tally[]> {
  const texts = await Promise.all(MODELS.map(({ name }) => readFile(tallyFile(name), 'utf8').catch(() => undefined)));
  return texts.flatMap((text) => (text === undefined ? [] : [JSON.parse(text) as Tally]));
}

/** Remembers the last result of each program: a note may be made of several runs. */
async function rememberTally(tally: Tally): Promise<void> {
  const known = (await recallTallies()).find(({ model }) => model === tally.model);
  const verdicts = new Map([...(known?.verdicts ?? []), ...tally.verdicts].map((verdict) => [verdict.path, verdict]));
  // Renamed when it is whole: whoever interrupts us keeps what there was.
  await writeFile(`${tallyFile(tally.model)}.new`, JSON.stringify({ ...tally, verdicts: [...verdicts.values()] }));
  await rename(`${tallyFile(tally.model)}.new`, tallyFile(tally.model));
}

function report(tallies: readonly Tally[], names: readonly string[]): string {
  const code = (text: string): string => `\`${text.replaceAll('`', "'")}\``;
  const paths = BUILDS.flatMap((build) => names.map((name) => `/${build}/${name}`));
  const notRun = (tally: Tally): string[] => paths.filter((path) => !tally.verdicts.some((verdict) => verdict.path === path));
  return [
    table(
      ['processor', 'Bochs', 'kernel', 'kernel arguments', 'passed', 'complaints of the kernel at boot'],
      tallies.map((tally) => [
        code(tally.model),
        tally.version,
        tally.kernel,
        (MODELS.find(({ name }) => name === tally.model)?.kernelArgs ?? []).map(code).join(' '),
        passed(tally),
        tally.said.map(code).join(', '),
      ]),
    ),
    `${names.length} programs, each in two builds: ${names.join(', ')}.`,
    ...tallies.flatMap((tally) => (notRun(tally).length === 0 ? [] : [`Not run on ${code(tally.model)} yet: ${notRun(tally).length} of ${paths.length}.`])),
    ...EXCUSES.map(({ complaint, why }) => `Not counted: ${code(complaint.source)}: ${why}.`),
    ...Object.entries(LEFT_OUT).map(([name, why]) => `Left out: ${name}: ${why}.`),
    ...tallies.flatMap((tally) =>
      failed(tally).map(({ path, faults }) => [`**${path} on ${tally.model}**`, '', ...faults.map((line) => `* ${code(line)}`)].join('\n')),
    ),
  ].join('\n\n');
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { note: { type: 'boolean', default: false }, cpu: { type: 'string', multiple: true, default: [] } },
  });
  const known = (await readdir(SOURCES)).flatMap((name) => (name.endsWith('.out') && !name.startsWith('sec-') ? [basename(name, '.out')] : [])).sort();
  const unknown = positionals.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new UklError('UKL_USAGE', `'${unknown}' is not one of ${known.join(', ')}`);
  const stranger = values.cpu.find((name) => !MODELS.some((model) => model.name === name));
  if (stranger !== undefined) throw new UklError('UKL_USAGE', `'${stranger}' is not one of ${MODELS.map(({ name }) => name).join(', ')}`);
  const models = MODELS.filter(({ name }) => values.cpu.length === 0 || values.cpu.includes(name));
  const names = positionals.length > 0 ? known.filter((name) => positionals.includes(name)) : known.filter((name) => !(name in LEFT_OUT));

  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(name, () => controller.abort(new UklError('UKL_COMMAND', `interrupted by ${name}`)));
  const context = { log: createLog(), signal: controller.signal };
  await ensurePackages(context.log, [...allRequirements(), ...PACKAGES], context.signal);
  const kernel = await getKernel(kernelSpec('ukl'), context);
  await mkdir(OUTPUTS, { recursive: true });
  const work = await mkdtemp(join(tmpdir(), 'ukl-bochs-programs-'));
  try {
    const init = await compileStatic('test/bochs/init.c', join(work, 'init'));
    const jobs = await context.log.step('compile the programs', () => compile(names, work, context));
    let allPassed = true;
    for (const model of models) {
      const tally = await runModel(model, jobs, kernel, init, context);
      process.stdout.write(`${model.name}: ${passed(tally)} passed; what the machines printed is in ${OUTPUTS}\n`);
      allPassed &&= failed(tally).length === 0;
    }
    if (values.note)
      await writeNote(
        'bochs.md',
        report(
          await recallTallies(),
          known.filter((name) => !(name in LEFT_OUT)),
        ),
      );
    return allPassed ? 0 : 1;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

await exitWith(main);
