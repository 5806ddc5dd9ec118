// SPDX-License-Identifier: MIT
/** What a guest's kernel says of the defects of its processor, and the tables of docs/mitigations.md. */
import { join } from 'node:path';
import { projectRoot } from '../../src/lib/paths.js';
import type { Ring } from '../../src/model/index.js';
import { runGuest } from '../boot/harness.js';

/** Processors that clouds have, as QEMU emulates them: without the microcode that came later. */
export const MODELS = ['Skylake-Server', 'Cascadelake-Server', 'EPYC'] as const;
export type Model = (typeof MODELS)[number];

export const PAGE = join(projectRoot, 'docs/mitigations.md');

/** By the defect's name in /sys/devices/system/cpu/vulnerabilities. */
export type Vulnerabilities = ReadonlyMap<string, string>;

export async function readVulnerabilities(model: Model, ring: Ring, kernelArgs: readonly string[] = []): Promise<Vulnerabilities> {
  const { end, stdout, stderr } = await runGuest(join(projectRoot, 'test/fixtures/vulnerabilities.c'), { accel: 'tcg', cpu: model, ring, kernelArgs });
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => /^(\w+): (.*)$/.exec(line)?.slice(1) ?? [line, '']);
  const found = new Map(lines.map(([name = '', text = '']): [string, string] => [name, text]));
  if (end.kind !== 'exit' || found.get('ring') !== String(ring)) throw new Error(`${model}, ring ${ring}: ${JSON.stringify(end)}\n${stdout}${stderr}`);
  found.delete('ring');
  return found;
}

/** Both rings of a model, one after the other. */
export async function readModel(model: Model): Promise<Readonly<Record<Ring, Vulnerabilities>>> {
  return { 0: await readVulnerabilities(model, 0), 3: await readVulnerabilities(model, 3) };
}

/** The table of a model, from its heading on. */
export function formatTable(model: Model, rings: Readonly<Record<Ring, Vulnerabilities>>): string {
  const names = [...new Set([...rings[0].keys(), ...rings[3].keys()])].sort();
  const row = (name: string): string => {
    const [inner = 'missing', outer = 'missing'] = [rings[0].get(name), rings[3].get(name)];
    return `| \`${name}\` | ${inner} | ${inner === outer ? 'the same' : outer} |`;
  };
  return [`### ${model}`, '', '| defect | ring 0 | ring 3 |', '| --- | --- | --- |', ...names.map(row), ''].join('\n');
}

/** Where a model's table is in the page: up to the next heading. */
export function findTable(page: string, model: Model): { readonly start: number; readonly end: number } {
  const start = page.indexOf(`### ${model}\n`);
  if (start < 0) throw new Error(`${PAGE} has no section ${model}`);
  const next = page.indexOf('\n#', start);
  return { start, end: next < 0 ? page.length : next };
}
