// SPDX-License-Identifier: MIT
/** What a declaration of an option has. `options.ts` has the options. */
import type { z } from 'zod';

/** Where an option can be given: in a ukl.config, for a build, for a run of an image. Flags follow from the last two. */
export type Scope = 'config' | 'build' | 'run';

/** How an option is given on the command line. */
export interface Flag {
  /** As commander takes it: "-p, --publish <host:guest>". */
  readonly words: string;
  /** many: repeated words are a list.  variables: repeated KEY=VALUE are a record.  off: the flag means false. */
  readonly kind?: 'text' | 'number' | 'switch' | 'many' | 'variables' | 'off';
  /** Values that help shows; the schema decides. */
  readonly choices?: readonly string[];
  /** In place of `help`, where the command line has other words for it. */
  readonly help?: string;
}

export interface OptionDeclaration {
  /** Of the value, in a configuration as in the SDK. */
  readonly schema: z.ZodType;
  readonly scopes: readonly Scope[];
  /** One imperative or noun phrase, without a full stop. */
  readonly help: string;
  /** The default in words, where the schema has none. */
  readonly byDefault?: string;
  readonly flag?: Flag;
}

/** Keeps the precise type of a declaration. */
export function option<const Declaration extends OptionDeclaration>(declaration: Declaration): Declaration {
  return declaration;
}
