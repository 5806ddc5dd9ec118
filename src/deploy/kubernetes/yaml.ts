// SPDX-License-Identifier: MIT
/** YAML as Kubernetes reads it, and as Helm's templates have it. */
import { Document, Scalar, type ScalarTag, visit } from 'yaml';

/** What a chart's template has in place of a value: Go's text/template with Helm's functions. */
export class Template {
  constructor(
    readonly path: string,
    /** Lists and maps go on lines of their own. */
    readonly kind: 'text' | 'number' | 'block',
  ) {}

  toString(indent: number): string {
    if (this.kind === 'block') return `{{- toYaml ${this.path} | nindent ${indent} }}`;
    return this.kind === 'text' ? `{{ ${this.path} | quote }}` : `{{ ${this.path} }}`;
  }
}

/** A value, or where a chart has it. */
export type Slot<T> = T | Template;

/** Where a number has to be a text. */
export const asText = (slot: Slot<number>): Slot<string> => (slot instanceof Template ? new Template(slot.path, 'text') : String(slot));

const template: ScalarTag = {
  tag: 'tag:yaml.org,2002:str',
  default: true,
  identify: (value) => value instanceof Template,
  resolve: (text) => text,
  stringify: ({ value }, { indent }) => (value instanceof Template ? value.toString(indent.length) : String(value)),
};

/** Anybody's text: no version of YAML takes it for something else. */
export const quoted = (text: string): Scalar => Object.assign(new Scalar(text), { type: Scalar.QUOTE_DOUBLE });

/** With comments before keys of the outermost map. */
export function toYaml(value: object, comments: Readonly<Record<string, string>> = {}): string {
  const document = new Document(value, { schema: 'yaml-1.1', customTags: (tags) => [template, ...tags], aliasDuplicateObjects: false });
  visit(document, {
    Pair: (_key, { key }, [, parent]) => {
      const name = String(key);
      if (parent === document.contents && comments[name] !== undefined) (key as { commentBefore?: string }).commentBefore = ` ${comments[name]}`;
    },
  });
  return document.toString({ lineWidth: 0 });
}
