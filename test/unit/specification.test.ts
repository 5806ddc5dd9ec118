// SPDX-License-Identifier: MIT
/** SPECIFICATION.md is held to what was last measured, and to tests that exist. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { BenchResult, Measured } from '../../src/bench/bench.js';
import { median } from '../../src/bench/stats.js';
import type { VariantName } from '../../src/bench/suite.js';
import { projectRoot } from '../../src/lib/paths.js';

const read = (path: string): string => readFileSync(join(projectRoot, path), 'utf8');

interface Row {
  readonly section: string;
  readonly cells: readonly string[];
}

/** The rows of the tables, without their heads. */
function rowsOf(markdown: string): Row[] {
  let section = '';
  const rows: Row[] = [];
  const lines = markdown.split('\n');
  lines.forEach((line, index) => {
    if (line.startsWith('## ')) section = line.slice(3);
    const isHead = /^\| -/.test(lines[index + 1] ?? '');
    if (line.startsWith('| ') && !isHead && !line.startsWith('| -'))
      rows.push({
        section,
        cells: line
          .split(/(?<!\\)\|/)
          .slice(1, -1)
          .map((cell) => cell.trim()),
      });
  });
  return rows;
}

const rows = rowsOf(read('SPECIFICATION.md'));
const promises = rows.filter(({ section }) => section !== 'Speed');
const speed = rows.filter(({ section }) => section === 'Speed');

describe('every promise', () => {
  test('has a value and a proof, or is pending', () => {
    expect(promises.length).toBeGreaterThan(30);
    for (const { cells } of promises) {
      const [promise, value, proof] = cells;
      expect(value, promise).toBeTruthy();
      if (!value?.includes('[pending]')) expect(proof, promise).toMatch(/`[^`]+`|\[.+\]\(.+\)/);
    }
  });

  test('names tests that exist', () => {
    const tests = ['test/boot', 'test/unit'].flatMap((folder) =>
      readdirSync(join(projectRoot, folder))
        .filter((name) => name.endsWith('.test.ts'))
        .map((name) => read(join(folder, name))),
    );
    const guests = readdirSync(join(projectRoot, 'test/guest')).flatMap((name) => (name.endsWith('.c') ? [name.replace(/\.c$/, '')] : []));
    // A title with a placeholder (%s, $name) is known from its words around it.
    const titles = tests.flatMap((text) => [...text.matchAll(/\b(?:test|describe)\b[^\n]*?\(\s*(['"`])((?:(?!\1).)+)\1/g)].map(([, , title = '']) => title));
    const later = tests.flatMap((text) => [...text.matchAll(/^\s*\]\s*(?:as const)?\)\(\s*(['"`])((?:(?!\1).)+)\1/gm)].map(([, , title = '']) => title));
    const all = [...titles, ...later, ...guests];
    for (const { cells } of promises) {
      for (const [, quoted, word] of (cells[2] ?? '').matchAll(/vitest run [^`]*-t (?:"([^"]+)"|([^ `]+))/g)) {
        const pattern = quoted ?? word ?? '';
        expect(
          all.some((title) => title.includes(pattern)),
          `${cells[0]}: no test has ${pattern} in its title`,
        ).toBe(true);
      }
      for (const [, file] of (cells[2] ?? '').matchAll(/(test\/[\w/.-]+\.ts)/g)) expect(() => read(file ?? ''), cells[0]).not.toThrow();
    }
  });
});

/** Numbers may differ from the promised ones by this much; instructions of whole servers differ by more than single calls. */
const TOLERANCE = { call: 0.01, server: 0.03 } as const;

const results = readdirSync(join(projectRoot, 'docs/results'))
  .filter((name) => name.endsWith('.json'))
  .map((name) => JSON.parse(read(join('docs/results', name))) as BenchResult);

function measured(id: string): Measured | undefined {
  const [suite, metric] = id.split('/');
  return results
    .flatMap(({ suites }) => suites)
    .find(({ name }) => name === suite)
    ?.metrics.find(({ name }) => name === metric);
}

/** "12,057", "22.8 MiB" */
const numberIn = (cell: string | undefined): number => Number((/[\d,.]+/.exec(cell ?? '')?.[0] ?? 'NaN').replaceAll(',', ''));

describe('the speed that is promised', () => {
  // "`suite/metric`", of the stock kernel and ring 0 with our C library, or "`suite/metric` of A and B".
  const held = speed.flatMap(({ cells: [what = '', baseline = '', ours = '', proof = ''] }) => {
    const [, id, base = 'stock', variant = 'linked'] = /`([\w-]+\/[\w-]+)`(?: of (\w+) and (\w+))?/.exec(proof) ?? [];
    return id === undefined
      ? []
      : [{ what, id, baseline: numberIn(baseline), ours: numberIn(ours), base: base as VariantName, variant: variant as VariantName }];
  });

  test('is most of the table', () => {
    expect(held.length).toBeGreaterThan(10);
  });

  test.each(held)('$what is what was last measured ($id)', ({ id, baseline, ours, base, variant }) => {
    const metric = measured(id);
    expect(metric, 'no committed result has it').toBeDefined();
    const tolerance = metric?.better === 'more' ? TOLERANCE.server : TOLERANCE.call;
    for (const [promised, values] of [
      [baseline, metric?.values[base]],
      [ours, metric?.values[variant]],
    ] as const) {
      const is = median(values ?? []);
      expect(Math.abs(is / promised - 1), `${promised} is promised, ${is} was measured`).toBeLessThanOrEqual(tolerance);
    }
  });
});
