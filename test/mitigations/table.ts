// SPDX-License-Identifier: MIT
/**
 * Prints the tables of docs/mitigations.md as our kernel has them now, or puts
 * them there:
 *
 *     npx tsx test/mitigations/table.ts [--write]
 */
import { readFile, writeFile } from 'node:fs/promises';
import { findTable, formatTable, MODELS, PAGE, readModel } from './vulnerabilities.js';

const write = process.argv.includes('--write');
let page = await readFile(PAGE, 'utf8');
for (const model of MODELS) {
  const table = formatTable(model, await readModel(model));
  const { start, end } = findTable(page, model);
  page = page.slice(0, start) + table + page.slice(end);
  if (!write) console.log(table);
}
if (write) await writeFile(PAGE, page);
