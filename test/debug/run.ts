// SPDX-License-Identifier: MIT
/**
 * The programs of test/guest in ring 0 of our kernel with debugging options on
 * top (kernel.config): KASAN, lockdep, full preemption, and tracing, which
 * rewrites the code that ring 0 programs call. Fails if a program's output
 * differs, if the kernel complains about itself, or objtool about the kernel.
 *
 *     npx tsx test/debug/run.ts [--note] [--mode MODE]... [NAME]...
 */

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { allRequirements } from '../../src/doctor/doctor.js';
import { ensurePackages } from '../../src/host/requirements.js';
import { getKernel } from '../../src/kernels/kernel.js';
import { kernelSpec } from '../../src/kernels/lines.js';
import { UklError } from '../../src/lib/errors.js';
import { createLog } from '../../src/lib/log.js';
import { projectRoot, storeRoot } from '../../src/lib/paths.js';
import type { Image } from '../../src/model/index.js';
import { build, run } from '../../src/sdk/index.js';
import { type Context, complaintsIn, describeEnd, endOf, Lines, PATIENCE } from '../batch/batch.js';
import { exitWith } from '../batch/command.js';
import { table, writeNote } from '../batch/note.js';
import { BATCH, batchesOf, batchImage, compilePrograms, expectedOutput, guestPath, programs, runnerIn } from '../boot/batches.js';
import { MODES, type Mode, WITHOUT } from './modes.js';

const OUTPUTS = join(projectRoot, '.ukl/debug');
const CONFIG = join(projectRoot, 'test/debug/kernel.config');
/** Runs last in each guest, and says what was traced. */
const TRACED = 'traced';
/** KASAN under emulation is slow, and a busy host holds it up: a program has this long to say its next line. */
const SILENCE_MS = 900_000;
const GUEST_SECONDS = 2 * 3600;

interface Result {
  readonly name: string;
  /** "exit 0", "signal 11", or what became of the guest. */
  readonly end: string;
  readonly output: string;
  readonly seconds: number;
}

/** What the kernel says of itself while a program runs; before the first, while it boots. */
interface Complaint {
  readonly during: string;
  readonly line: string;
}

interface GuestRun {
  readonly results: readonly Result[];
  readonly complaints: readonly Complaint[];
  readonly console: readonly string[];
}

interface ModeRun {
  readonly mode: string;
  readonly programs: number;
  readonly seconds: number;
  readonly guests: number;
  /** All that is wrong. */
  readonly failures: readonly string[];
  /** Of the programs, in seconds. */
  readonly slowest: readonly string[];
}

/** One guest with some of an image's programs. It may die in one of them: the results end there. */
async function runGuest(
  image: Image,
  mode: Mode,
  names: readonly string[],
  onProgram: (name: string, done: number) => void,
  { signal }: Context,
): Promise<GuestRun> {
  const results: Result[] = [];
  const complaints: Complaint[] = [];
  const console: string[] = [];
  let seen = 0;
  let current: string | undefined;
  let lines: string[] = [];
  let heard = performance.now();
  let begun = heard;
  // What came on the console since the last call belongs to who ran until now.
  const account = (): void => {
    complaints.push(...complaintsIn(console.slice(seen)).map((line) => ({ during: current ?? results.at(-1)?.name ?? 'boot', line })));
    seen = console.length;
  };
  const finish = (end: string): void => {
    account();
    results.push({ name: current ?? '', end, output: lines.map((line) => `${line}\n`).join(''), seconds: (performance.now() - begun) / 1000 });
    current = undefined;
  };
  const take = (line: string): void => {
    heard = performance.now();
    if (current === undefined) {
      account();
      const next = names[results.length];
      if (next === undefined || line !== `== ${next}`) return;
      current = next;
      lines = [];
      begun = heard;
      onProgram(next, results.length);
    } else if (/^== (exit|signal) \d+$/.test(line)) finish(line.slice(3));
    else lines.push(line);
  };
  await using guest = await run(image.path, {
    args: names.map(guestPath),
    env: { UKL_RING: '0' },
    memory: '1G',
    cpus: 2,
    accel: 'tcg',
    verbose: true,
    kernelArgs: [...PATIENCE, ...mode.kernelArgs],
    timeout: GUEST_SECONDS,
    stdout: new Lines(take),
    stderr: new Lines((line) => console.push(line)),
    signal,
  });
  const end = await endOf(guest, SILENCE_MS, () => heard, signal);
  if (current !== undefined) finish(`guest: ${describeEnd(end)}`);
  else {
    account();
    // It may also have died before the next program began.
    const next = names[results.length];
    if (next !== undefined) results.push({ name: next, end: `guest: ${describeEnd(end)} before it began`, output: '', seconds: 0 });
  }
  return { results, complaints, console };
}

/** What is wrong with a program's result. */
async function failuresOf(mode: Mode, { name, end, output }: Result): Promise<string[]> {
  if (name === TRACED && end === 'exit 0') return mode.missing(output.split('\n')).map((text) => `${TRACED}: ${text}`);
  if (end === 'exit 0' && output === (await expectedOutput(name))) return [];
  const last = output.trimEnd().split('\n').at(-1);
  return [`${name}: ${end}${end !== 'exit 0' ? '' : ', and another output'}${last ? `; its last line: ${last}` : ''}`];
}

async function runMode(mode: Mode, images: readonly { readonly image: Image; readonly names: readonly string[] }[], context: Context): Promise<ModeRun> {
  const begin = performance.now();
  const results: Result[] = [];
  const failures: string[] = [];
  let guests = 0;
  await context.log.step(`run the guest suite (${mode.name})`, async (progress) => {
    for (const { image, names } of images) {
      const without = WITHOUT.filter((one) => one.mode === undefined || one.mode === mode.name).map(({ program }) => program);
      for (let left = names.filter((name) => !without.includes(name)); left.length > 0; ) {
        const done = await runGuest(image, mode, left, (name, done) => progress(`${name}, ${results.length + done} done`), context);
        guests++;
        left = left.slice(done.results.length);
        results.push(...done.results);
        for (const result of done.results) failures.push(...(await failuresOf(mode, result)));
        const own = done.complaints.filter(({ line }) => mode.known?.pattern.test(line) !== true);
        failures.push(...new Set(own.map(({ during, line }) => `${during}: kernel: ${line}`)));
        const told = done.results.map(({ name, end, output, seconds }) => `== ${name}\n${output}== ${end} (${seconds.toFixed(1)} s)\n`).join('');
        await writeFile(join(OUTPUTS, `${mode.name}-${guests}.txt`), `${told}\n${done.console.join('\n')}\n`);
      }
    }
  });
  const own = results.filter(({ name }) => name !== TRACED);
  const slowest = [...own]
    .sort((a, b) => b.seconds - a.seconds)
    .slice(0, 3)
    .map(({ name, seconds }) => `${name} ${seconds.toFixed(0)}`);
  return { mode: mode.name, programs: own.length, seconds: Math.round((performance.now() - begin) / 1000), guests, failures, slowest };
}

/** What the compiler and objtool said when the kernel was built; objtool knows what entry code may call (NOINSTR_VALIDATION). */
async function buildWarnings(vmlinux: string): Promise<string[]> {
  const log = join(storeRoot(), 'logs', `${basename(dirname(vmlinux))}.log`);
  if (!existsSync(log)) return [`${log}: gone, so what objtool said is not known`];
  // What is told of kernel.config's lines is that they override ours, as they should.
  return (await readFile(log, 'utf8')).split('\n').filter((line) => /\bwarning: /i.test(line) && !line.includes('warning: override: '));
}

const MEMORY = join(OUTPUTS, 'modes.json');

/** The last run of each mode over all programs: a note may be made of several runs. */
async function remembered(): Promise<ModeRun[]> {
  const known = JSON.parse(await readFile(MEMORY, 'utf8').catch(() => '[]')) as ModeRun[];
  return MODES.flatMap(({ name }) => known.find(({ mode }) => mode === name) ?? []);
}

/** As soon as a mode is over: a run takes long, and may be interrupted. */
async function remember(one: ModeRun): Promise<void> {
  const others = (await remembered()).filter(({ mode }) => mode !== one.mode);
  await writeFile(MEMORY, JSON.stringify([...others, one], undefined, 2));
}

function report(runs: readonly ModeRun[], warnings: readonly string[]): string {
  const modes = new Map(MODES.map((mode) => [mode.name, mode]));
  return [
    table(
      ['mode', 'programs', 'wrong', 'seconds', 'slowest, in seconds'],
      runs.map(({ mode, programs: count, failures, seconds, slowest }) => [
        mode,
        String(count),
        failures.length === 0 ? 'nothing' : String(failures.length),
        String(seconds),
        slowest.join(', '),
      ]),
    ),
    runs.map(({ mode }) => `* **${mode}**: ${modes.get(mode)?.what ?? ''}.`).join('\n'),
    ...MODES.flatMap(({ name, known }) =>
      known === undefined ? [] : [`Not counted in ${name}: \`${known.pattern.source.replaceAll('\\', '')}\`. ${known.why}`],
    ),
    ...runs
      .filter(({ failures }) => failures.length > 0)
      .map(({ mode, failures }) => [`Wrong in ${mode}:`, '', ...failures.map((text) => `* \`${text.replaceAll('`', "'")}\``)].join('\n')),
    warnings.length === 0
      ? 'Neither the compiler nor objtool warned when the kernel was built.'
      : ['Warnings of the build:', '', ...warnings.map((text) => `* \`${text}\``)].join('\n'),
    ...(WITHOUT.length === 0
      ? []
      : [['Left out:', '', ...WITHOUT.map(({ program, mode, why }) => `* ${program}${mode === undefined ? '' : ` (${mode})`}: ${why}`)].join('\n')]),
  ].join('\n\n');
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { note: { type: 'boolean', default: false }, mode: { type: 'string', multiple: true } },
  });
  const unknown = positionals.find((name) => !programs.includes(name));
  if (unknown !== undefined) throw new UklError('UKL_USAGE', `'${unknown}' is not one of ${programs.join(', ')}`);
  const unknownMode = values.mode?.find((name) => !MODES.some((mode) => mode.name === name));
  if (unknownMode !== undefined) throw new UklError('UKL_USAGE', `--mode '${unknownMode}' is not one of ${MODES.map(({ name }) => name).join(', ')}`);
  if (values.note && positionals.length > 0) throw new UklError('UKL_USAGE', '--note is for all programs');
  const modes = MODES.filter(({ name }) => values.mode?.includes(name) ?? true);
  const controller = new AbortController();
  // Each time: a terminal and tsx may both pass a Ctrl-C on, and the second must not cut the cleaning short.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => controller.abort(new UklError('UKL_COMMAND', `interrupted by ${name}`)));
  const context = { log: createLog(), signal: controller.signal };
  await ensurePackages(context.log, allRequirements(), context.signal);
  const kernel = await getKernel({ ...kernelSpec('ukl'), fragments: [CONFIG] }, context);
  const warnings = await buildWarnings(kernel.vmlinux);
  for (const line of warnings) process.stdout.write(`${line}\n`);
  const names = positionals.length > 0 ? positionals : programs;
  const work = await mkdtemp(join(tmpdir(), 'ukl-debug-'));
  try {
    await mkdir(OUTPUTS, { recursive: true });
    await context.log.step('compile the guest suite', () => compilePrograms(work, names, context, { [TRACED]: 'test/debug/traced.c' }));
    const images: { readonly image: Image; readonly names: readonly string[] }[] = [];
    for (const batch of batchesOf(names, BATCH - 1).map((some) => [...some, TRACED])) {
      images.push({
        image: await build(runnerIn(work), { ...batchImage(work, batch), kernelConfig: CONFIG, out: join(work, `image-${images.length}`), ...context }),
        names: batch,
      });
    }
    const runs: ModeRun[] = [];
    for (const mode of modes) {
      const one = await runMode(mode, images, context);
      runs.push(one);
      if (positionals.length === 0) await remember(one);
      process.stdout.write(
        [
          `${mode.name}: ${one.programs} programs in ${one.guests} guests, ${one.seconds} s: ${one.failures.length === 0 ? 'passed' : 'FAILED'}`,
          ...one.failures.map((text) => `    ${text}`),
          '',
        ].join('\n'),
      );
    }
    process.stdout.write(`their output and the consoles are in ${OUTPUTS}\n`);
    if (values.note) await writeNote('debug-kernel.md', report(await remembered(), warnings));
    return warnings.length === 0 && runs.every(({ failures }) => failures.length === 0) ? 0 : 1;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

await exitWith(main);
