// SPDX-License-Identifier: MIT
/** `ukl functions dev`: a function whose files change is built again, and takes the place of the one before. */
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { asUklError } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import type { FunctionSource } from './discover.js';
import type { Gateway } from './gateway.js';

/** Editors write a file in several steps. */
const SETTLE_MS = 100;

/** What lies in a project and is made by tools. */
const MADE = /(^|\/)(\.ukl|\.git|node_modules)(\/|$)/;

/** Watches the directories of functions until it is disposed of. */
export function devFunctions(sources: readonly FunctionSource[], gateway: Gateway, log: Log): Disposable {
  const watchers: FSWatcher[] = [];
  const timers = new Map<string, NodeJS.Timeout>();
  let working = Promise.resolve();
  const rebuild = async (name: string): Promise<void> => {
    const began = performance.now();
    await gateway.rebuild(name).then(
      () => log.info(`${name} is new after ${((performance.now() - began) / 1000).toFixed(1)} s`),
      // The last version goes on.
      (error: unknown) => {
        const { message, details } = asUklError(error);
        log.warn(details === undefined ? message : `${message}\n${details}`);
      },
    );
  };
  const changed = (name: string): void => {
    clearTimeout(timers.get(name));
    timers.set(
      name,
      setTimeout(() => {
        working = working.then(() => rebuild(name));
      }, SETTLE_MS),
    );
  };
  for (const { name, target } of sources) {
    void stat(target).then((info) => {
      const directory = info.isDirectory() ? target : dirname(target);
      watchers.push(watch(directory, { recursive: true }, (_event, file) => (file === null || MADE.test(file) ? undefined : changed(name))));
    });
  }
  return {
    [Symbol.dispose]: () => {
      for (const watcher of watchers) watcher.close();
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}
