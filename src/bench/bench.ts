// SPDX-License-Identifier: MIT
/** Measures variants side by side: each round runs all of them, one after the other. */
import { readFile, rm } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { build } from '../build/build.js';
import { ensurePackages } from '../host/requirements.js';
import { asUklError, UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import { type Log, silentLog } from '../lib/log.js';
import { projectRoot } from '../lib/paths.js';
import { makeScratch } from '../lib/scratch.js';
import type { ImageManifest } from '../model/index.js';
import { optimize } from '../optimize/optimize.js';
import type { BuildOptions } from '../options/given.js';
import { run } from '../run/run.js';
import { type Metric, type Suite, USUAL, VARIANTS, type Variant, type VariantName, type Workload } from './suite.js';
import { boot } from './suites/boot.js';
import { echo } from './suites/echo.js';
import { functions } from './suites/functions.js';
import { node } from './suites/node.js';
import { requests } from './suites/requests.js';
import { memcached, nginx, postgres, redis } from './suites/servers.js';
import { size } from './suites/size.js';
import { syscalls } from './suites/syscalls.js';

export const SUITES: readonly Suite[] = [syscalls, boot, echo, redis, memcached, nginx, postgres, node, size, requests, functions];

/** A guest that hangs is a result as well. */
const GUEST_SECONDS = 600;

export interface Measured extends Metric {
  /** One number a round, or none where it could not be measured. */
  readonly values: Readonly<Partial<Record<VariantName, readonly number[]>>>;
}

export interface SuiteResult {
  readonly name: string;
  readonly title: string;
  /** What was compared; the first is the baseline. */
  readonly variants: readonly VariantName[];
  readonly metrics: readonly Measured[];
  /** What went wrong, in the words of the tool. */
  readonly failures: readonly { readonly variant: VariantName; readonly message: string }[];
}

export interface BenchResult {
  readonly format: 2;
  readonly made: string;
  readonly rounds: number;
  readonly complete: boolean;
  /** The arguments that make it again. */
  readonly command: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly qemu: string;
    readonly accel: string;
    readonly kernel: string;
    readonly commit: string;
  };
  readonly variants: readonly { readonly name: VariantName; readonly title: string }[];
  readonly suites: readonly SuiteResult[];
}

export interface BenchOptions {
  readonly suites: readonly string[];
  readonly rounds: number;
  readonly variants?: readonly VariantName[];
  readonly log?: Log;
  readonly signal?: AbortSignal;
}

interface Prepared {
  readonly workload: Workload;
  readonly variant: Variant;
  readonly image: string;
  readonly manifest: ImageManifest;
}

async function prepare(workload: Workload, variant: Variant, path: string, options: BenchOptions): Promise<Prepared> {
  const { server } = workload;
  const built: BuildOptions = {
    out: path,
    kernel: variant.kernel,
    libc: variant.libc,
    ...(workload.container === undefined ? {} : { container: workload.container }),
    ...('profile' in variant ? { profile: variant.profile } : {}),
    ...('express' in variant ? { express: variant.express } : {}),
    ring: server === undefined ? variant.ring : 3,
    ring0: server !== undefined && variant.ring === 0 ? [server] : [],
    files: workload.files ?? [],
    ...(options.log === undefined ? {} : { log: options.log }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
  const optimized = variant.name === 'optimized' && workload.load !== undefined;
  const { manifest } = await (optimized ? optimize(workload.target, workload.load, built) : build(workload.target, built));
  return { workload, variant, image: path, manifest };
}

async function measure({ workload, variant, image, manifest }: Prepared, signal: AbortSignal | undefined): Promise<Readonly<Record<string, number>>> {
  if (workload.measure !== undefined) return workload.measure({ image, manifest, variant, signal });
  const errors = new PassThrough();
  const said = text(errors);
  const vm = await run(image, {
    accel: 'tcg',
    icount: workload.clock === 'instructions',
    timeout: GUEST_SECONDS,
    args: workload.args ?? [],
    stderr: errors,
    ...(signal === undefined ? {} : { signal }),
  });
  const [output, result] = await Promise.all([text(vm.stdout), vm.result]);
  errors.end();
  if (result.end.kind !== 'exit' || result.end.status !== 0) {
    throw new UklError('UKL_VMM', `the guest ended with ${JSON.stringify(result.end)}: ${(await said).trim().split('\n').at(-1) ?? ''}`, { log: result.log });
  }
  return workload.parse(output);
}

async function machine(kernel: string): Promise<BenchResult['machine']> {
  const model = /^model name\s*: (.*)$/m.exec(await readFile('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  const [qemu = ''] = (await exec('qemu-system-x86_64', ['--version'])).split('\n');
  const commit = await exec('git', ['-C', projectRoot, 'describe', '--always', '--dirty']).catch(() => 'unknown');
  return { cpu: model, cores: cpus().length, qemu: qemu.replace('QEMU emulator version ', ''), accel: 'tcg (emulation)', kernel, commit: commit.trim() };
}

/** Numbers of one suite as they come in. */
class Collector {
  readonly failures: { variant: VariantName; message: string }[] = [];
  readonly #values = new Map<string, number[]>();

  constructor(private readonly suite: Suite) {}

  add(variant: VariantName, numbers: Readonly<Record<string, number>>): void {
    for (const { name } of this.suite.metrics) {
      const value = numbers[name];
      // A number that is none stays out: the report then says that it is missing.
      if (value === undefined || !Number.isFinite(value)) continue;
      const key = `${name} ${variant}`;
      this.#values.set(key, [...(this.#values.get(key) ?? []), value]);
    }
  }

  result(all: readonly Variant[]): SuiteResult {
    const { name: suite, title, workloads } = this.suite;
    const variants = all.filter(({ name }) => workloads.some((workload) => (workload.variants ?? USUAL).includes(name)));
    return {
      name: suite,
      title,
      variants: variants.map(({ name }) => name),
      failures: this.failures,
      metrics: this.suite.metrics.map((metric) => ({
        ...metric,
        values: Object.fromEntries(variants.map(({ name }) => [name, this.#values.get(`${metric.name} ${name}`) ?? []])),
      })),
    };
  }
}

/**
 * Runs suites, all variants in each round. A variant that fails is reported
 * and loses the others nothing; after an abort, what is finished is returned.
 *
 * @throws UKL_USAGE for an unknown suite
 */
export async function bench(options: BenchOptions): Promise<BenchResult> {
  const log = options.log ?? silentLog;
  const unknown = options.suites.filter((name) => !SUITES.some((suite) => suite.name === name));
  if (unknown.length > 0)
    throw new UklError('UKL_USAGE', `no suite is called ${unknown.join(', ')}`, { hint: `one of ${SUITES.map(({ name }) => name).join(', ')}` });
  const suites = SUITES.filter(({ name }) => options.suites.length === 0 || options.suites.includes(name));
  const variants = VARIANTS.filter(({ name }) => options.variants === undefined || options.variants.includes(name));
  await ensurePackages(
    log,
    suites.flatMap(({ packages }) => packages),
    options.signal,
  );
  await using scratch = await makeScratch('bench');
  const results: SuiteResult[] = [];
  let kernel = 'unknown';
  const aborted = (): boolean => options.signal?.aborted === true;
  for (const suite of suites) {
    if (aborted()) break;
    const collector = new Collector(suite);
    const failed = (variant: VariantName, error: unknown): void => {
      if (!aborted()) collector.failures.push({ variant, message: asUklError(error).message });
    };
    const prepared: Prepared[] = [];
    for (const [index, workload] of suite.workloads.entries()) {
      for (const variant of variants.filter(({ name }) => (workload.variants ?? USUAL).includes(name))) {
        await prepare(workload, variant, join(scratch.path, `${suite.name}-${index}-${variant.name}`), options).then(
          (one) => prepared.push(one),
          (error: unknown) => failed(variant.name, error),
        );
      }
    }
    kernel = prepared[0]?.manifest.kernel.version ?? kernel;
    await log.step(`measure ${suite.name}`, async (progress) => {
      for (let round = 1; round <= options.rounds; round++) {
        for (const one of prepared) {
          if (aborted()) return;
          progress(`round ${round} of ${options.rounds}, ${one.variant.title}`);
          await measure(one, options.signal).then(
            (numbers) => collector.add(one.variant.name, numbers),
            (error: unknown) => failed(one.variant.name, error),
          );
        }
      }
    });
    results.push(collector.result(variants));
    for (const { image } of prepared) await rm(image, { force: true });
  }
  return {
    format: 2,
    made: new Date().toISOString(),
    rounds: options.rounds,
    complete: !aborted(),
    command: `ukl bench ${suites.map(({ name }) => name).join(' ')} --rounds ${options.rounds}`,
    machine: await machine(kernel),
    variants: variants.map(({ name, title }) => ({ name, title })),
    suites: results,
  };
}
