// SPDX-License-Identifier: MIT
import { expect, test } from 'vitest';
import type { BenchResult } from '../../src/bench/bench.js';
import { compare, renderReport } from '../../src/bench/report.js';

const result: BenchResult = {
  format: 2,
  made: '2026-01-02T03:04:05.000Z',
  rounds: 3,
  complete: true,
  command: 'ukl bench syscalls --rounds 3',
  machine: { cpu: 'a <processor>', cores: 2, qemu: '7.2', accel: 'tcg', kernel: '6.12', commit: 'abc' },
  variants: [
    { name: 'pid1', title: 'the program as PID 1' },
    { name: 'stock', title: 'stock kernel' },
    { name: 'linked', title: 'ring 0' },
  ],
  suites: [
    {
      name: 'syscalls',
      title: 'Services & more',
      variants: ['stock', 'linked'],
      failures: [{ variant: 'linked', message: 'it <died>' }],
      metrics: [
        {
          name: 'null',
          title: 'getppid()',
          unit: 'instructions',
          better: 'less',
          clock: 'instructions',
          values: { stock: [220, 220, 221], linked: [97, 97, 98] },
        },
        { name: 'none', title: 'nothing', unit: 'instructions', better: 'less', clock: 'instructions', values: { stock: [], linked: [] } },
      ],
    },
  ],
};

test('a page that needs nothing else, with the numbers in it', () => {
  const page = renderReport(result);
  expect(page).not.toMatch(/(src|href)=|@import|url\(/);
  expect(page).toContain('a &lt;processor&gt;');
  expect(page).toContain('linked: it &lt;died&gt;');
  // Beside the suite's own baseline; what it did not compare has no column.
  expect(page).not.toContain('<th>the program as PID 1</th>');
  expect(page).toContain('× 0.441, better');
  expect(page).toMatch(/nothing<br><small>instructions<\/small><\/th><td>not measured<\/td>/);
  const data = /<script type="application\/json" id="data">([^]*?)<\/script>/.exec(page)?.[1] ?? '';
  expect(JSON.parse(data)).toEqual(result);
});

test.each([
  ['less', [97, 98, 99], [220, 221, 222], 'better'],
  ['more', [97, 98, 99], [220, 221, 222], 'worse'],
  ['less', [99, 101, 100], [100, 99, 101], 'noise'],
  ['less', [50], [100], 'unknown'],
  ['less', [], [100, 100, 100], 'unknown'],
] as const)('%s is better: %j beside %j is %s', (better, values, baseline, standing) => {
  expect(compare(values, baseline, better).standing).toBe(standing);
});
