// SPDX-License-Identifier: MIT
/** Tables of the documentation, made from the options. */
import type { z } from 'zod';
import type { OptionDeclaration, Scope } from './option.js';
import { OPTIONS, type OptionName, optionsIn } from './options.js';

const declaration = (name: OptionName): OptionDeclaration => OPTIONS[name];

/** What a schema fills in, in words; undefined if it has no default. */
function defaultOf(schema: z.ZodType): string | undefined {
  const { success, data } = schema.safeParse(undefined);
  if (!success || data === undefined) return undefined;
  if (Array.isArray(data) || (typeof data === 'object' && data !== null && Object.keys(data).length === 0)) return 'none';
  return `\`${String(data)}\``;
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)].join('\n');
}

/** The keys of ukl.config. */
export function configTable(): string {
  return table(
    ['key', 'meaning', 'default'],
    optionsIn('config').map((name) => {
      const { help, byDefault, schema } = declaration(name);
      return [`\`${name}\``, help, byDefault ?? defaultOf(schema) ?? ''];
    }),
  );
}

/** The flags of a scope, with the option of the SDK that each one is. */
export function flagTable(scope: Exclude<Scope, 'config'>): string {
  return table(
    ['flag', 'meaning', 'option of the SDK'],
    optionsIn(scope).flatMap((name: OptionName) => {
      const { flag, help } = declaration(name);
      return flag === undefined ? [] : [[`\`${flag.words}\``, flag.help ?? help, `\`${name}\``]];
    }),
  );
}

/** The tables by the marker that surrounds them in a document: <!-- table: NAME --> to <!-- end -->. */
export const TABLES: Readonly<Record<string, () => string>> = {
  config: configTable,
  'build flags': () => flagTable('build'),
  'run flags': () => flagTable('run'),
};

/** A document with its tables as they are now. */
export function withTables(text: string): string {
  return text.replaceAll(/(<!-- table: ([a-z ]+) -->\n)[^]*?(<!-- end -->)/g, (whole, begin: string, name: string, end: string) => {
    const make = TABLES[name];
    return make === undefined ? whole : `${begin}\n${make()}\n\n${end}`;
  });
}
