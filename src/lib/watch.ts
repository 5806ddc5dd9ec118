// SPDX-License-Identifier: MIT
import { watch } from 'node:fs';

/** Calls `look` at once and for each change in a directory, until it says that it has seen enough (false) or the signal aborts. */
export async function onChanges(directory: string, look: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
  let wake = (): void => {};
  let pending = true;
  // Before the first look: what changes during one is seen in the next.
  const watcher = watch(directory, () => {
    pending = true;
    wake();
  });
  const stop = (): void => wake();
  watcher.on('error', stop);
  signal.addEventListener('abort', stop, { once: true });
  try {
    while (!signal.aborted) {
      pending = false;
      if (!(await look())) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (pending || signal.aborted) resolve();
      });
    }
  } finally {
    watcher.close();
    signal.removeEventListener('abort', stop);
  }
}
