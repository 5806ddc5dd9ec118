// SPDX-License-Identifier: MIT
/**
 * Random system calls of a ring 0 program, by the jump and by the instruction,
 * beside the same from ring 3 on the unpatched kernel. Any complaint of the
 * kernel about itself fails the side. Then the children that were at it are run
 * again, alone, with each call written before it is made.
 *
 *     npx tsx test/fuzz/run.ts --minutes 60 [--seed N] [--without DF,NT] [--only ring0|stock] [--note]
 *     npx tsx test/fuzz/run.ts --seed N --child K [--only ring0|stock]
 */

import { randomInt } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { allRequirements } from '../../src/doctor/doctor.js';
import { ensurePackages } from '../../src/host/requirements.js';
import { UklError } from '../../src/lib/errors.js';
import { createLog, type Log } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { build, run } from '../../src/sdk/index.js';
import { compileStatic, complaintsIn, describeEnd, Lines, PATIENCE, SIDES, type Side } from '../batch/batch.js';
import { exitWith } from '../batch/command.js';
import { table, writeNote } from '../batch/note.js';

const OUTPUTS = join(projectRoot, '.ukl/fuzz');
/** Flags, stack pointers and children of the fuzzer's, as fuzz.c has them. */
const FEATURES = ['DF', 'NT', 'AC', 'IOPL', 'TF', 'ID', 'IF', 'wild', 'high', 'root'];

/**
 * Plain code of its own, away from the addresses that the fuzzer makes up: a
 * call must not put something else in its place.
 */
const OPTIONS = ['-Wno-unused-result', '-fno-stack-protector', '-fcf-protection=none', '-no-pie', '-Wl,-Ttext-segment=0x53215000'];

/** Progress comes every two seconds; a busy host may hold it up. */
const SILENCE_MS = 180_000;
const CHILDREN = 4;
const CONSOLE_LINES = 150;

interface Outcome {
  readonly calls: number;
  readonly children: number;
  readonly killed: number;
  readonly seconds: number;
  /** What is wrong; nothing if nothing is. */
  readonly failures: readonly string[];
  /** The children that were running when it went wrong. */
  readonly running: readonly number[];
  readonly lastCalls: readonly string[];
  readonly console: readonly string[];
}

interface Fuzz {
  readonly image: string;
  readonly side: Side;
  readonly seed: number;
  readonly seconds: number;
  readonly features: readonly string[];
  readonly child?: number;
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
}

async function fuzz({ image, side, seed, seconds, features, child, signal, onProgress }: Fuzz): Promise<Outcome> {
  const console: string[] = [];
  const lastCalls: string[] = [];
  const started: number[] = [];
  const failures: string[] = [];
  let ring: string | undefined;
  let counts = [0, 0, 0];
  let done = false;
  let heard = performance.now();
  const begin = performance.now();
  const take = (line: string): void => {
    heard = performance.now();
    const [word, ...rest] = line.split(' ');
    const text = rest.join(' ');
    if (word === '@start') started.push(Number(text));
    else if (word === '@ring') ring = text;
    else if (word === '@call') lastCalls.push(text);
    else if (word === '@failed') failures.push(text);
    else if (word === '@progress' || word === '@done') {
      counts = rest.map(Number);
      done = word === '@done';
      onProgress(`${counts[0]} calls of ${counts[1]} children, seed ${seed}`);
    } else if (line.startsWith('child ')) lastCalls.push(line);
    if (started.length > CHILDREN) started.shift();
    if (child !== undefined && lastCalls.length > CHILDREN) lastCalls.shift();
  };
  await using guest = await run(image, {
    args: [String(seconds), String(seed), features.join(','), ...(child === undefined ? [] : [String(child), 'trace'])],
    memory: '1G',
    cpus: 2,
    accel: 'tcg',
    verbose: true,
    kernelArgs: PATIENCE,
    timeout: seconds + 600,
    stdout: new Lines(take),
    stderr: new Lines((line) => {
      console.push(line);
      if (console.length > 20_000) console.splice(0, 10_000);
    }),
    signal,
  });
  let silent = false;
  const watchdog = setInterval(() => {
    if (performance.now() - heard < SILENCE_MS) return;
    silent = true;
    guest.kill();
  }, 1000);
  const { end } = await guest.result.finally(() => clearInterval(watchdog));
  signal.throwIfAborted();
  const expected = side === 'ring0' ? '0 jump' : '3 syscall only';
  if (ring !== expected) throw new UklError('UKL_BUG', `the fuzzer is in ring ${ring ?? '?'}, not ${expected}`, { details: console.slice(-20).join('\n') });
  failures.push(...new Set(complaintsIn(console)));
  if (silent) failures.push(`the guest says nothing any more for ${SILENCE_MS / 1000} s`);
  else if (!done && failures.length === 0)
    failures.push(`${end.kind === 'exit' || end.kind === 'signal' ? 'the supervisor' : 'the guest'} ended: ${describeEnd(end)}`);
  const [calls = 0, children = 0, killed = 0] = counts;
  return { calls, children, killed, seconds: Math.round((performance.now() - begin) / 1000), failures, running: started, lastCalls, console };
}

interface Settings {
  readonly seed: number;
  readonly seconds: number;
  readonly features: readonly string[];
  readonly child: number | undefined;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Runs one side and, if it fails, its last children again: those calls are on the disk before they are made. */
async function runSide(side: Side, program: string, work: string, settings: Settings): Promise<{ outcome: Outcome; again: Outcome[] }> {
  const { seed, seconds, features, child, log, signal } = settings;
  const image = await build(program, {
    kernel: side === 'ring0' ? 'ukl' : 'stock',
    ring: side === 'ring0' ? 0 : 3,
    out: join(work, `${side}.image`),
    log,
    signal,
  });
  const base = { image: image.path, side, seed, features, signal };
  const outcome = await log.step(`fuzz (${side})`, (onProgress) => fuzz({ ...base, seconds, onProgress, ...(child === undefined ? {} : { child }) }));
  const again: Outcome[] = [];
  if (outcome.failures.length > 0 && child === undefined) {
    for (const one of outcome.running) {
      again.push(await log.step(`run child ${one} again (${side})`, (onProgress) => fuzz({ ...base, seconds: 30, child: one, onProgress })));
    }
  }
  return { outcome, again };
}

/** From the first complaint on, or the end. */
function lastWords(console: readonly string[]): readonly string[] {
  const first = console.findIndex((line) => complaintsIn([line]).length > 0);
  return first < 0 ? console.slice(-20) : console.slice(Math.max(0, first - 5), first + CONSOLE_LINES);
}

function describe(side: Side, { outcome, again }: { outcome: Outcome; again: readonly Outcome[] }, seed: number): string {
  const { calls, children, killed, seconds, failures, running, lastCalls, console } = outcome;
  return [
    `${side}: seed ${seed}: ${calls} calls of ${children} children, ${killed} of them killed, in ${seconds} s: ${failures.length === 0 ? 'passed' : 'FAILED'}`,
    ...failures.map((text) => `  ${text}`),
    ...(failures.length === 0
      ? []
      : [`  children at that time: ${running.join(', ')}`, '  last calls:', ...lastCalls.slice(-4 * CHILDREN).map((text) => `    ${text}`)]),
    ...again.flatMap((one, index) => [
      `  child ${running[index] ?? '?'} again, alone: ${one.failures.length === 0 ? 'passes' : one.failures.slice(0, 3).join('; ')}`,
      ...(one.failures.length === 0 ? [] : one.lastCalls.slice(-1).map((text) => `    ${text}`)),
    ]),
    ...(failures.length === 0 ? [] : ['  console:', ...lastWords(console).map((text) => `    ${text}`)]),
    '',
  ].join('\n');
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '5' },
      seed: { type: 'string' },
      child: { type: 'string' },
      without: { type: 'string', default: '' },
      only: { type: 'string' },
      note: { type: 'boolean', default: false },
    },
  });
  const without = values.without.split(',').filter((word) => word !== '');
  const unknown = without.find((word) => !FEATURES.includes(word));
  if (unknown !== undefined) throw new UklError('UKL_USAGE', `--without '${unknown}' is not one of ${FEATURES.join(', ')}`);
  const sides = SIDES.filter((side) => values.only === undefined || values.only === side);
  if (sides.length === 0) throw new UklError('UKL_USAGE', `--only takes one of ${SIDES.join(', ')}`);
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(name, () => controller.abort(new UklError('UKL_COMMAND', `interrupted by ${name}`)));
  const log = createLog();
  const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
  const features = FEATURES.filter((word) => !without.includes(word));
  const settings: Settings = {
    seed,
    seconds: Math.ceil(Number(values.minutes) * 60),
    features,
    child: values.child === undefined ? undefined : Number(values.child),
    log,
    signal: controller.signal,
  };
  await ensurePackages(log, allRequirements(), controller.signal);
  log.info(`seed ${seed}, with ${features.join(', ')}`);
  const work = await mkdtemp(join(tmpdir(), 'ukl-fuzz-'));
  try {
    const program = await compileStatic('test/fuzz/fuzz.c', join(work, 'fuzz'), OPTIONS);
    const runs = sides.map((side) => runSide(side, program, work, settings));
    await Promise.allSettled(runs);
    await mkdir(OUTPUTS, { recursive: true });
    const rows: string[][] = [];
    let failed = false;
    for (const [index, side] of sides.entries()) {
      const result = await (runs[index] as Promise<{ outcome: Outcome; again: Outcome[] }>);
      const text = describe(side, result, seed);
      const file = join(OUTPUTS, `${side}.txt`);
      await writeFile(file, text);
      process.stdout.write(`${text.split('\n').slice(0, 40).join('\n')}\n${result.outcome.failures.length === 0 ? '' : `all of it: ${file}\n`}`);
      failed ||= result.outcome.failures.length > 0;
      const { calls, children, killed, seconds, failures } = result.outcome;
      rows.push([
        side === 'ring0' ? 'ring 0' : 'stock',
        String(seed),
        String(seconds),
        String(calls),
        String(children),
        String(killed),
        failures.length === 0 ? 'none' : failures.join('; '),
      ]);
    }
    if (values.note)
      await writeNote(
        'fuzz.md',
        `With ${features.join(', ')}.\n\n${table(['side', 'seed', 'seconds', 'calls', 'children', 'killed by a signal', 'complaints'], rows)}`,
      );
    return failed ? 1 : 0;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

await exitWith(main);
