// SPDX-License-Identifier: MIT
/** `ukl dev`: a guest that takes each new version of its program as it is saved. */
import { randomBytes } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { resolveTarget } from '../app/target.js';
import { asUklError, UklError } from '../lib/errors.js';
import { type Log, silentLog } from '../lib/log.js';
import type { BuildOptions, RunOptions } from '../options/given.js';
import type { RunningVm } from '../run/launch.js';
import { run } from '../run/run.js';
import { type Bundle, bundle } from '../runtimes/node/bundle.js';
import { checkTypes } from '../runtimes/node/check.js';
import { projectOf } from '../runtimes/node/node.js';
import { nodeVersion } from '../runtimes/node/release.js';
import { wantedNode } from '../runtimes/node/runtime.js';

/** Where guest/supervisors/node/dev.mts listens. */
const GUEST_PORT = 1;
/** Editors write a file in several steps. */
const SETTLE_MS = 30;
/** The guest may still be starting. */
const RETRY_MS = 200;

/** Calls `changed` once for each burst of changes to a set of files. */
class Watcher {
  #directories = new Map<string, FSWatcher>();
  #files = new Set<string>();
  #timer: AbortController | undefined;

  constructor(private readonly changed: () => void) {}

  /** Watches these files, and no longer those of before. */
  watch(files: Iterable<string>): void {
    this.#files = new Set(files);
    // Directories, as editors replace files rather than write to them.
    const wanted = new Set([...this.#files].map((file) => dirname(file)));
    for (const [directory, watcher] of this.#directories) {
      if (wanted.has(directory)) continue;
      watcher.close();
      this.#directories.delete(directory);
    }
    for (const directory of wanted) {
      if (this.#directories.has(directory)) continue;
      this.#directories.set(
        directory,
        watch(directory, (_event, name) => {
          if (name !== null && this.#files.has(join(directory, name))) this.#settle();
        }),
      );
    }
  }

  #settle(): void {
    this.#timer?.abort();
    this.#timer = new AbortController();
    setTimeout(SETTLE_MS, undefined, { signal: this.#timer.signal }).then(this.changed, () => {});
  }

  close(): void {
    this.#timer?.abort();
    for (const watcher of this.#directories.values()) watcher.close();
  }
}

function tell(log: Log, error: unknown): void {
  const { message, details } = asUklError(error);
  log.warn(details === undefined ? message : `${message}\n${details}`);
}

async function send(vm: RunningVm, token: string, made: Bundle, isOver: () => boolean): Promise<void> {
  const body = JSON.stringify(
    Object.fromEntries(made.files.flatMap((file) => (file.kind === 'data' ? [[file.guest, Buffer.from(file.data).toString('base64')]] : []))),
  );
  while (!isOver()) {
    const answer = await fetch(`http://127.0.0.1:${vm.port(GUEST_PORT)}/`, { method: 'PUT', body, headers: { authorization: `Bearer ${token}` } }).catch(
      () => undefined,
    );
    if (answer?.ok) return;
    if (answer !== undefined) throw new UklError('UKL_VMM', `the guest did not take the new version: ${await answer.text()}`);
    await setTimeout(RETRY_MS);
  }
}

/**
 * Starts a TypeScript or JavaScript program and changes it for each version
 * that is saved, without starting the guest again. What cannot be compiled is
 * reported, and the last version goes on.
 *
 * @throws UKL_USAGE for other targets, and what `run` throws
 */
export async function dev(targetPath: string, options: RunOptions & BuildOptions = {}): Promise<RunningVm> {
  const log = options.log ?? silentLog;
  const target = await resolveTarget(targetPath);
  const { config } = target;
  if (!target.runtime.dev || config.entry === undefined)
    throw new UklError('UKL_USAGE', `${targetPath} is not a TypeScript or JavaScript program`, { hint: `ukl run ${targetPath}` });
  const entry = resolve(target.directory, config.entry);
  const root = projectOf(entry);
  const compile = (): Promise<Bundle> => bundle({ entry, root, nodeVersion: nodeVersion(wantedNode(config.runtime)), external: config.external });
  const typed = (options.check ?? config.check) && /\.[cm]?ts$/.test(entry);

  const token = randomBytes(16).toString('hex');
  const vm = await run(targetPath, {
    ...options,
    dev: true,
    // The first version is to start as any other: with its errors shown, not refused.
    check: false,
    ports: [...(options.ports ?? []), `0:${GUEST_PORT}`],
    env: { ...options.env, UKL_DEV_TOKEN: token },
  });
  let over = false;
  let first: Bundle | undefined;
  let checking: AbortController | undefined;
  const check = (): void => {
    checking?.abort();
    checking = new AbortController();
    const { signal } = checking;
    if (typed) checkTypes(entry, root, signal).catch((error: unknown) => (signal.aborted || over ? undefined : tell(log, error)));
  };
  const update = async (): Promise<void> => {
    const started = performance.now();
    const made = await compile();
    watcher.watch(made.inputs);
    check();
    if (first !== undefined && [...made.outside.keys()].some((name) => !first?.outside.has(name))) {
      throw new UklError('UKL_USAGE', 'a package with native code was added, which the guest does not have', { hint: 'end ukl dev and start it again' });
    }
    await send(vm, token, made, () => over);
    log.info(`${basename(entry)} is in the guest after ${Math.round(performance.now() - started)} ms`);
  };
  // One at a time; what was saved meanwhile is in the next.
  let working = false;
  let pending = false;
  const changed = (): void => {
    pending = true;
    if (working) return;
    working = true;
    void (async () => {
      while (pending && !over) {
        pending = false;
        await update().catch((error: unknown) => tell(log, error));
      }
      working = false;
    })();
  };
  const watcher = new Watcher(changed);
  first = await compile();
  watcher.watch(first.inputs);
  check();
  const result = vm.result.finally(() => {
    over = true;
    watcher.close();
    checking?.abort();
  });
  result.catch(() => {});
  return {
    ...vm,
    get state() {
      return vm.state;
    },
    get pid() {
      return vm.pid;
    },
    result,
    [Symbol.asyncDispose]: () => vm[Symbol.asyncDispose](),
  };
}
