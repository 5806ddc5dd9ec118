// SPDX-License-Identifier: MIT
/**
 * Programs of others, one after the other in a guest, each with a time limit.
 * What brings the guest down costs its own result only: the next guest goes on
 * behind it.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { UklError } from '../../src/lib/errors.js';
import { exec } from '../../src/lib/exec.js';
import type { Log } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import type { Image, KernelFlavour, RunEnd } from '../../src/model/index.js';
import { build, type RunningVm, run } from '../../src/sdk/index.js';

/** Ours with the programs in ring 0, and the unpatched one with them in ring 3. */
export const SIDES = ['ring0', 'stock'] as const;
export type Side = (typeof SIDES)[number];

export interface Job {
  readonly name: string;
  /** The program, by its path in the guest, and its arguments. No tabs, no line ends. */
  readonly command: readonly string[];
  readonly directory: string;
  readonly seconds: number;
}

export interface JobResult {
  readonly name: string;
  /** "exit 0", "signal 11", "timeout 60", or what became of the guest: "guest: panic ...". */
  readonly end: string;
  readonly lines: readonly string[];
  /** What the kernel complained about meanwhile, as its console has it. */
  readonly complaints: readonly string[];
}

export interface Batch {
  readonly name: string;
  /** As `files` of a configuration. */
  readonly files: readonly string[];
  /** What is in ring 0 on our kernel, by path in the guest: at most 15. */
  readonly programs: readonly string[];
  readonly jobs: readonly Job[];
  readonly memory: string;
  readonly cpus: number;
}

export interface Context {
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** The guest says that it is alive every two seconds; a busy host may hold it up. */
const SILENCE_MS = 120_000;
const LOOK_MS = 1000;
/** The kernel's own patience: stalls of RCU and soft lockups, which a busy host brings about. */
export const PATIENCE = ['rcupdate.rcu_cpu_stall_timeout=120', 'watchdog_thresh=60'];
/** No batch takes longer, whatever happens to the clock of the guest. */
const GUEST_SECONDS = 6 * 3600;

/** How a guest ended; one that was last heard of longer ago than `silenceMs` is ended. Throws if the signal was aborted. */
export async function endOf(guest: Pick<RunningVm, 'result' | 'kill'>, silenceMs: number, heard: () => number, signal: AbortSignal): Promise<RunEnd> {
  const watchdog = setInterval(() => {
    if (performance.now() - heard() > silenceMs) guest.kill();
  }, LOOK_MS);
  const { end } = await guest.result.finally(() => clearInterval(watchdog));
  signal.throwIfAborted();
  return end;
}

/** What a healthy kernel never says. */
const COMPLAINT =
  /\b(WARNING: |BUG: |Oops|general protection fault|kernel BUG at|INFO: (rcu|task|trying to register|lockdep)|rcu: INFO|soft lockup|hard LOCKUP|Kernel panic|stack-protector|unchecked MSR|Bad pagetable|bad: scheduling|sleeping function|double fault|Unable to handle|list_(add|del) corruption|refcount_t|UBSAN)/;

/** The lines of a console in which the kernel complains about itself. */
export function complaintsIn(console: readonly string[]): string[] {
  return console.map((line) => line.replace(/^(<\d+>)?\[ *[\d.]+\] ?/, '').trim()).filter((line) => COMPLAINT.test(line) && !/^traps: /.test(line));
}

/** Takes a stream as lines. */
export class Lines extends Writable {
  #rest = '';
  readonly #take: (line: string) => void;

  constructor(take: (line: string) => void) {
    super();
    this.#take = take;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const lines = (this.#rest + chunk.toString('latin1')).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#take(line.replace(/\r$/, ''));
    done();
  }
}

export function describeEnd(end: RunEnd): string {
  switch (end.kind) {
    case 'panic':
      return `panic: ${end.message}`;
    case 'exit':
      return `exit ${end.status}`;
    case 'signal':
      return `signal ${end.signal}`;
    case 'timeout':
    case 'interrupted':
      return 'hung';
    case 'guest-setup':
    case 'vmm':
      return `${end.kind}: ${end.message}`;
    case 'triple-fault':
      return 'triple fault';
    case 'reboot':
      return 'reboot';
  }
}

/** Compiles a C program of the tests, statically. */
export async function compileStatic(source: string, output: string, options: readonly string[] = []): Promise<string> {
  await exec('gcc', ['-O2', '-Wall', '-Wextra', '-Werror', '-static', '-pthread', ...options, '-o', output, join(projectRoot, source)]);
  return output;
}

async function makeImage(side: Side, batch: Batch, jobs: readonly Job[], work: string, { log, signal }: Context): Promise<Image> {
  const runner = await compileStatic('test/batch/runner.c', join(work, 'runner'));
  await compileStatic('test/glibc/ring.c', join(work, 'ring'));
  await writeFile(join(work, 'jobs'), jobs.map(({ seconds, directory, command }) => `${[String(seconds), directory, ...command].join('\t')}\n`).join(''));
  const kernel: KernelFlavour = side === 'ring0' ? 'ukl' : 'stock';
  return build(runner, {
    kernel,
    ring: 3,
    ring0: side === 'ring0' ? ['/batch/ring', ...batch.programs] : [],
    files: [`${join(work, 'ring')}:/batch/ring`, `${join(work, 'jobs')}:/batch/jobs`, ...batch.files],
    out: join(work, 'image'),
    log,
    signal,
  });
}

/** One guest, from a job on. Returns the number of the first job that has no result yet. */
async function runGuest(
  image: Image,
  batch: Batch,
  jobs: readonly Job[],
  first: number,
  onResult: (number: number, result: JobResult) => void,
  onJob: (job: Job) => void,
  { signal }: Context,
): Promise<number> {
  let current: number | undefined;
  let next = first;
  let lines: string[] = [];
  let console: string[] = [];
  let heard = performance.now();
  const finish = (number: number, end: string): void => {
    onResult(number, { name: jobs[number]?.name ?? '', end, lines, complaints: complaintsIn(console) });
    next = number + 1;
    current = undefined;
    lines = [];
    console = [];
  };
  const take = (line: string): void => {
    heard = performance.now();
    if (line.startsWith('|')) {
      lines.push(line.slice(1));
      return;
    }
    const [, word, number, end = ''] = /^@(begin|end|stuck) (\d+) ?(.*)$/.exec(line) ?? [];
    if (number === undefined) return;
    if (word === 'begin') {
      current = Number(number);
      const job = jobs[current];
      if (job) onJob(job);
    } else if (word === 'end') finish(Number(number), end);
    else finish(Number(number), 'guest: something survives SIGKILL');
  };
  await using guest = await run(image.path, {
    args: [String(first)],
    env: { PATH: '/usr/sbin:/usr/bin', HOME: '/root', USE_COLOR: '0' },
    memory: batch.memory,
    cpus: batch.cpus,
    accel: 'tcg',
    verbose: true,
    kernelArgs: PATIENCE,
    timeout: GUEST_SECONDS,
    stdout: new Lines(take),
    stderr: new Lines((line) => console.push(line)),
    signal,
  });
  const end = await endOf(guest, SILENCE_MS, () => heard, signal);
  if (current !== undefined) finish(current, `guest: ${describeEnd(end)}`);
  // It may also have died between two jobs: of what the one before has left.
  else if (next === first) finish(first, `guest: ${describeEnd(end)} before it began`);
  return next;
}

/**
 * Runs a batch on one side. The first job of each guest says in which ring it
 * is: a test of the tests.
 *
 * @throws UKL_BUG if the programs are not in the ring they should be in
 */
export async function runBatch(side: Side, batch: Batch, outputs: string, context: Context): Promise<JobResult[]> {
  const probe: Job = { name: 'ring', command: ['/batch/ring'], directory: '/', seconds: 60 };
  const jobs = [probe, ...batch.jobs];
  const work = await mkdtemp(join(tmpdir(), 'ukl-batch-'));
  try {
    const image = await makeImage(side, batch, jobs, work, context);
    const results = new Map<number, JobResult>();
    const written: Promise<void>[] = [];
    const onResult = (number: number, result: JobResult): void => {
      results.set(number, result);
      if (number > 0) written.push(writeOutput(outputs, side, result));
    };
    await context.log.step(`run ${batch.name} (${side})`, async (progress) => {
      for (let next = 0; next < jobs.length; ) {
        next = await runGuest(image, batch, jobs, next, onResult, (job) => progress(job.name), context);
        const ring = results.get(0)?.lines[0];
        const expected = side === 'ring0' ? '0' : '3';
        if (ring !== expected)
          throw new UklError('UKL_BUG', `the programs of ${batch.name} are in ring ${ring ?? '?'}, not ${expected}`, {
            details: JSON.stringify(results.get(0)),
          });
      }
    });
    await Promise.all(written);
    return batch.jobs.map(({ name }, index) => results.get(index + 1) ?? { name, end: 'absent', lines: [], complaints: [] });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Both sides at the same time, so that both see the same host. What the programs print is kept below `outputs`. */
export async function runBoth(batch: Batch, outputs: string, context: Context): Promise<Record<Side, JobResult[]>> {
  const ring0 = runBatch('ring0', batch, outputs, context);
  const stock = runBatch('stock', batch, outputs, context);
  await Promise.allSettled([ring0, stock]);
  return { ring0: await ring0, stock: await stock };
}

/** As soon as it is there: a run may be interrupted. */
async function writeOutput(directory: string, side: Side, { name, end, lines, complaints }: JobResult): Promise<void> {
  const file = join(directory, side, `${name.replaceAll(/[^\w.-]/g, '_')}.txt`);
  await mkdir(join(directory, side), { recursive: true });
  await writeFile(file, [...lines, '', `end: ${end}`, ...complaints.map((line) => `kernel: ${line}`), ''].join('\n'));
}
