// SPDX-License-Identifier: MIT
/**
 * Writes what is made from the sources: ukl.schema.json, the tables of the
 * documentation, and the SDK's reference. A unit test compares them.
 *
 *     npm run generate
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { projectRoot } from '../src/lib/paths.js';
import { jsonSchema } from '../src/options/config.js';
import { withTables } from '../src/options/document.js';
import { reference } from './reference.js';

/** The documents that have generated tables. */
export const DOCUMENTS = ['docs/config.md', 'docs/cli.md'] as const;

await writeFile(join(projectRoot, 'ukl.schema.json'), jsonSchema());
await writeFile(join(projectRoot, 'docs/reference.md'), await reference());
for (const path of DOCUMENTS) {
  const file = join(projectRoot, path);
  await writeFile(file, withTables(await readFile(file, 'utf8')));
}
