// SPDX-License-Identifier: MIT
/** Our kernels have what protects a distribution's; what they leave out is in a table, with the reason. */
import { beforeAll, describe, expect, test } from 'vitest';
import { readOptions } from '../../src/kernels/kconfig.js';
import { getKernelConfig } from '../../src/kernels/kernel.js';
import { kernelSpec } from '../../src/kernels/lines.js';
import { silentLog } from '../../src/lib/log.js';
import { EXCLUSIONS, excluded, findGaps, getDebianOptions, getHardeningOptions, type Options } from '../protections/debian.js';

const context = { log: silentLog };

describe("protections against Debian's configuration", () => {
  let debian: ReadonlyMap<string, Options>;
  let hardening: Options;
  beforeAll(async () => {
    debian = await getDebianOptions(context);
    hardening = await getHardeningOptions(context);
    expect([...debian.keys()].sort()).toEqual(['amd64', 'cloud-amd64']);
    for (const options of debian.values()) expect(options.get('CONFIG_CPU_MITIGATIONS')).toBe('y');
    expect(hardening.size).toBeGreaterThan(30);
  });

  test.each(['ukl', 'stock'] as const)('the kernel "%s" lacks only what the table excludes', async (flavour) => {
    const gaps = findGaps(readOptions(await getKernelConfig(kernelSpec(flavour), context)), [...debian.values()], hardening);
    const known = excluded(flavour);
    expect(gaps.filter(({ option }) => !known.has(option))).toEqual([]);
    const missing = new Set(gaps.map(({ option }) => option));
    expect(
      [...known].filter((option) => !missing.has(option)),
      'excluded without need',
    ).toEqual([]);
  });

  test('the table has a reason for each, once', () => {
    const options = EXCLUSIONS.flatMap((exclusion) => exclusion.options);
    expect(new Set(options).size).toBe(options.length);
    for (const { why } of EXCLUSIONS) expect(why).not.toBe('');
  });
});
