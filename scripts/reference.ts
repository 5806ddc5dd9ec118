// SPDX-License-Identifier: MIT
/** The reference of the SDK, from the docstrings of what src/sdk/index.ts exports. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { projectRoot } from '../src/lib/paths.js';

const SDK = 'src/sdk/index.ts';

interface Exported {
  readonly name: string;
  readonly file: string;
}

/** Names and files of `export { a, type B } from '...'`. What `export type *` passes on is in src/model. */
function exportsOf(text: string): Exported[] {
  return [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)';/gm)].flatMap(([, names = '', from = '']) => {
    const file = join(dirname(SDK), from).replace(/\.js$/, '.ts');
    return names
      .split(',')
      .map((name) => name.replace(/^\s*type /, '').trim())
      .filter((name) => name !== '')
      .map((name) => ({ name, file }));
  });
}

/** A docstring's text, without its frame. */
const unframed = (comment: string): string =>
  comment
    .trim()
    .replace(/^\/\*\*\s?|\s*\*\/$/g, '')
    .replaceAll(/^\s*\* ?/gm, '')
    .trim();

/** The declaration of a name: a function's head, or all of an interface or type. */
function declarationOf(text: string, name: string): { readonly comment: string; readonly code: string } | undefined {
  const match = new RegExp(`(/\\*\\*(?:(?!\\*/)[^])*\\*/\\n)?export (?:async )?(function|interface|type|class|const) ${name}\\b`).exec(text);
  if (match === null) return undefined;
  const [head, comment = '', kind = ''] = match;
  const start = match.index + comment.length;
  const rest = text.slice(start);
  const end = kind === 'function' ? rest.search(/ \{\n/) : kind === 'type' ? rest.search(/;\n/) + 1 : rest.search(/^\}/m) + 1;
  return { comment: unframed(comment), code: rest.slice(0, end > 0 ? end : head.length).trim() };
}

/** docs/reference.md. */
export async function reference(): Promise<string> {
  const text = await readFile(join(projectRoot, SDK), 'utf8');
  const sections: string[] = [];
  for (const { name, file } of exportsOf(text).sort((a, b) => a.name.localeCompare(b.name))) {
    const found = declarationOf(await readFile(join(projectRoot, file), 'utf8'), name);
    if (found === undefined) continue;
    sections.push(`## ${name}\n\n${found.comment === '' ? '' : `${found.comment}\n\n`}\`\`\`ts\n${found.code}\n\`\`\`\n\n[${file}](../${file})\n`);
  }
  return `# Reference of the SDK\n\nWritten by \`npm run generate\` from the docstrings. [sdk.md](sdk.md) has examples; the data types are in [src/model](../src/model).\n\n${sections.join('\n')}`;
}
