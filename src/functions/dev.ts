// SPDX-License-Identifier: MIT
/** `ukl functions dev`: a function whose files change is built again, and takes the place of the one before. */
import { type FSWatcher, watch } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { asUklError } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import { isFunction } from '../runtimes/functions.js';
import { discover, type FunctionSource } from './discover.js';
import type { LocalGateway } from './serve.js';

/** Editors write a file in several steps. */
const SETTLE_MS = 100;

/** What lies in a project and is made by tools. */
const MADE = new Set(['.ukl', '.git', 'node_modules']);

/** A directory with all that is below it, but for what tools make. */
async function tree(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const below = entries.filter((entry) => entry.isDirectory() && !MADE.has(entry.name)).map(({ name }) => tree(join(directory, name)));
  return [directory, ...(await Promise.all(below)).flat()];
}

/** Calls `changed` once for each burst of changes below a directory. Node.js' own recursive watch loses files that are replaced. */
class TreeWatcher {
  #watchers: FSWatcher[] = [];
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    private readonly directory: string,
    private readonly changed: () => void,
  ) {
    void this.#watch();
  }

  async #watch(): Promise<void> {
    const directories = await tree(this.directory);
    for (const watcher of this.#watchers.splice(0)) watcher.close();
    if (this.#closed) return;
    this.#watchers = directories.map((one) => watch(one, (_event, name) => (name === null || MADE.has(name) ? undefined : this.#settle())));
    for (const watcher of this.#watchers) watcher.on('error', () => {});
  }

  #settle(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      // There may be other directories now.
      void this.#watch();
      this.changed();
    }, SETTLE_MS);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers) watcher.close();
  }
}

/** Watches the directories of functions until it is disposed of. */
export function devFunctions(sources: readonly FunctionSource[], gateway: LocalGateway, log: Log): Disposable {
  let working = Promise.resolve();
  const rebuild = async ({ name, target }: FunctionSource): Promise<void> => {
    const began = performance.now();
    try {
      const [source] = await discover([target]);
      if (source !== undefined) await gateway.rebuild(source);
      log.info(`${name} is new after ${((performance.now() - began) / 1000).toFixed(1)} s`);
    } catch (error) {
      // The last version goes on.
      const { message, details } = asUklError(error);
      log.warn(details === undefined ? message : `${message}\n${details}`);
    }
  };
  const watchers = sources.map((source) => {
    const directory = isFunction(source.target) ? dirname(source.target) : source.target;
    return new TreeWatcher(directory, () => {
      working = working.then(() => rebuild(source));
    });
  });
  return {
    [Symbol.dispose]: () => {
      for (const watcher of watchers) watcher.close();
    },
  };
}
