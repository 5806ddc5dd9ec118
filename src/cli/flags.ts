// SPDX-License-Identifier: MIT
/** Flags from the table of options, and back to options. */
import { InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { UklError } from '../lib/errors.js';
import { nearest } from '../lib/nearest.js';
import { TIMEOUT_MAX } from '../model/image.js';
import type { OptionDeclaration, Scope } from '../options/option.js';
import { type Given, OPTIONS, type OptionName, optionsIn } from '../options/options.js';

/** What commander hands over, by the names that it gives the flags. */
export type RawFlags = Readonly<Record<string, unknown>>;

const declaration = (name: OptionName): OptionDeclaration => OPTIONS[name];

/** One word of a flag, as the schema takes it; a list's schema checks the elements. */
function read(name: OptionName, value: unknown): unknown {
  const { success, error } = declaration(name).schema.safeParse(value);
  if (success) return value;
  throw new InvalidArgumentError(error.issues.map(({ message }) => message).join('; '));
}

/** "KEY=VALUE", or "KEY" with the value that it has here. Throws UKL_USAGE. */
export function parseVariable(word: string): readonly [string, string] {
  const equals = word.indexOf('=');
  if (equals > 0) return [word.slice(0, equals), word.slice(equals + 1)];
  const inherited = process.env[word];
  if (equals === 0 || inherited === undefined) {
    throw new UklError('UKL_USAGE', `expected -e KEY=VALUE, or the name of a variable that is set, got '${word}'`);
  }
  return [word, inherited];
}

/** A flag that takes some words only, and says which of them may have been meant. */
export function withChoices(flag: Option, choices: readonly string[]): Option {
  return flag.choices(choices).argParser((word: string) => {
    if (choices.includes(word)) return word;
    const meant = nearest(word, choices);
    return refuse(`Allowed choices are ${choices.join(', ')}.${meant === undefined ? '' : ` Did you mean ${meant}?`}`);
  });
}

/** Repeated variables are a record. */
export function variable(word: string, before: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const [key, value] = parseVariable(word);
  return { ...before, [key]: value };
}

function toFlag(name: OptionName): Option | undefined {
  const { flag, help } = declaration(name);
  if (flag === undefined) return undefined;
  const made = new Option(flag.words, flag.help ?? help);
  switch (flag.kind ?? 'text') {
    case 'many':
      return made.argParser<unknown>((word, before) => read(name, [...(Array.isArray(before) ? (before as readonly string[]) : []), word]));
    case 'variables':
      return made.argParser(variable);
    case 'number':
      return made.argParser((word: string) => read(name, word.trim() === '' ? Number.NaN : Number(word)));
    case 'text':
      return flag.choices === undefined ? made.argParser((word: string) => read(name, word)) : withChoices(made, flag.choices);
    case 'switch':
    case 'off':
      return made;
  }
}

/** The flags of some scopes, in the order of the table. */
export function flagsOf(...scopes: readonly Scope[]): readonly Option[] {
  const names = new Set<OptionName>(scopes.flatMap((scope) => optionsIn(scope)));
  return (Object.keys(OPTIONS) as OptionName[]).filter((name) => names.has(name)).flatMap((name) => toFlag(name) ?? []);
}

/** The options of a scope that the flags give. */
export function givenBy<S extends Scope>(flags: RawFlags, scope: S): Given<S> {
  const given: Partial<Record<OptionName, unknown>> = {};
  for (const name of optionsIn(scope) as readonly OptionName[]) {
    const flag = toFlag(name);
    if (flag === undefined) continue;
    const value = flags[flag.attributeName()];
    // A negated flag is true unless it is given.
    if (value !== undefined && !(flag.negate && value === true)) given[name] = value;
  }
  return given as Given<S>;
}

/** Checks what commander parsed for the flags that are a verb's own. */
export const positive = (text: string): number => z.coerce.number().positive().safeParse(text).data ?? refuse('expected a number above 0.');
/** In seconds, as long as a timer can wait. */
export const duration = (text: string): number =>
  z.coerce.number().positive().max(TIMEOUT_MAX).safeParse(text).data ?? refuse(`expected seconds, above 0 and at most ${TIMEOUT_MAX}.`);
export const patience = (text: string): number =>
  z.coerce.number().min(0).max(TIMEOUT_MAX).safeParse(text).data ?? refuse(`expected seconds, 0 to ${TIMEOUT_MAX}.`);
export const whole = (text: string): number => z.coerce.number().int().min(1).safeParse(text).data ?? refuse('expected 1 or more.');
export const port = (text: string): number => z.coerce.number().int().min(0).max(65535).safeParse(text).data ?? refuse('expected 0 to 65535.');

export const count = (text: string): number => z.coerce.number().int().min(0).safeParse(text).data ?? refuse('expected 0 or more.');

/** What follows the target belongs to the program; the dashes do not. */
export const own = (args: readonly string[]): readonly string[] => (args[0] === '--' ? args.slice(1) : args);

/** Repeated words are a list. */
export const many = (word: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), word];

/** Repeated KEY=VALUE are a record. */
export function setting(word: string, before: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const equals = word.indexOf('=');
  if (equals < 1) refuse('expected KEY=VALUE.');
  return { ...before, [word.slice(0, equals)]: word.slice(equals + 1) };
}

function refuse(message: string): never {
  throw new InvalidArgumentError(message);
}
