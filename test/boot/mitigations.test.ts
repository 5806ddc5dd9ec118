// SPDX-License-Identifier: MIT
/** What the kernel does against the defects of real processors, in both rings, is what docs/mitigations.md says. */
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { findTable, formatTable, MODELS, type Model, PAGE, readModel, readVulnerabilities } from '../mitigations/vulnerabilities.js';

/** Defects that stay, by model. Where the kernel says that only microcode is missing, no entry is needed. */
const OPEN: Readonly<Record<Model, Readonly<Record<string, string>>>> = {
  'Skylake-Server': {
    retbleed: 'Linux chooses IBRS by itself, which is microcode; retbleed=stuff needs none, and is below',
    spec_store_bypass: 'needs SSBD, which is microcode',
  },
  'Cascadelake-Server': {
    retbleed: 'as for Skylake-Server',
    spec_store_bypass: 'needs SSBD, which is microcode',
  },
  EPYC: {},
};

/** Whether any part of it ("BHI: Vulnerable") is left as it is. */
const isOpen = (text: string): boolean => /\bVulnerable\b/.test(text) && !/no microcode/i.test(text);

describe('mitigations', () => {
  test.each(MODELS)('%s: the table in the documentation is what is seen', async (model) => {
    const rings = await readModel(model);
    const page = await readFile(PAGE, 'utf8');
    const { start, end } = findTable(page, model);
    expect(page.slice(start, end), 'npx tsx test/mitigations/table.ts --write').toBe(formatTable(model, rings));
    expect(rings[0].size).toBeGreaterThan(15);
    expect([...rings[0]]).toEqual([...rings[3]]);
    const open = [...rings[0]].filter(([, text]) => isOpen(text)).map(([name]) => name);
    expect(open).toEqual(Object.keys(OPEN[model]).sort());
  });

  test('retbleed=stuff: the depth of calls is tracked, without microcode', async () => {
    for (const ring of [0, 3] as const)
      expect((await readVulnerabilities('Skylake-Server', ring, ['retbleed=stuff'])).get('retbleed')).toBe('Mitigation: Stuffing');
  });
});
