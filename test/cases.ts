// SPDX-License-Identifier: MIT
/** What a command of the test directory tries, case by case: told as each ends, counted, and kept as rows of a note. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asUklError } from '../src/lib/errors.js';
import type { Log } from '../src/lib/log.js';
import { projectRoot } from '../src/lib/paths.js';

/** Throws what is said unless it is so. */
export function must(so: boolean, what: string): asserts so {
  if (!so) throw new Error(what);
}

const oneLine = (text: string): string => (text.split('\n')[0] ?? '').replaceAll('|', '\\|');

export class Cases {
  readonly #log: Log;
  /** Of a table of Markdown. */
  readonly rows: string[] = [];
  #failed = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Tries one. Its row has the cells that say what it is, and what was seen; a failure is told and counted, not thrown. */
  async try(cells: readonly string[], look: () => Promise<string>): Promise<void> {
    const began = performance.now();
    const { fine, seen } = await look().then(
      (text) => ({ fine: true, seen: text }),
      (error: unknown) => ({ fine: false, seen: asUklError(error).message }),
    );
    if (!fine) this.#failed++;
    const seconds = Math.round((performance.now() - began) / 1000);
    this.#log.info(`${fine ? 'ok    ' : 'FAILED'} ${seconds} s: ${cells.join(', ')}: ${seen}`);
    this.rows.push(`| ${[...cells, `${fine ? '' : '**failed**: '}${seen}`].map(oneLine).join(' | ')} |`);
  }

  /** Says how many there were, on standard output and by the exit status. */
  end(): void {
    process.stdout.write(`${this.rows.length - this.#failed} passed, ${this.#failed} failed\n`);
    process.exitCode = this.#failed > 0 ? 1 : 0;
  }
}

/** Writes a note of docs/notes. */
export const writeWholeNote = (name: string, text: string): Promise<void> => writeFile(join(projectRoot, 'docs/notes', name), text);
