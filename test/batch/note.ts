// SPDX-License-Identifier: MIT
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { projectRoot } from '../../src/lib/paths.js';

const BEGIN = '<!-- results: written by the command -->';
const END = '<!-- end of results -->';

/** A table of Markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Puts the results into a note of docs/notes, in the place of the last ones. */
export async function writeNote(name: string, text: string): Promise<void> {
  const file = join(projectRoot, 'docs/notes', name);
  const note = await readFile(file, 'utf8');
  const begin = note.indexOf(BEGIN);
  const end = note.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${file} has no place for results`);
  await writeFile(file, `${note.slice(0, begin + BEGIN.length)}\n\n${text.trim()}\n\n${note.slice(end)}`);
}
