// SPDX-License-Identifier: MIT
import { z } from 'zod';
import { OPTIONS, optionsIn, type Shape } from './options.js';

const shape = Object.fromEntries(optionsIn('config').map((name) => [name, OPTIONS[name].schema.describe(OPTIONS[name].help)])) as Shape<'config'>;

/** The shape of ukl.config.ts and ukl.config.json. */
export const configSchema = z
  .strictObject(shape)
  .refine((config) => config.build === undefined || config.program !== undefined, { error: "'build' needs 'program': the file that the commands make" })
  .refine((config) => config.debianSource === undefined || config.build !== undefined, { error: "'debianSource' needs 'build'" })
  .refine((config) => [config.program, config.sources, config.entry, config.image].filter((what) => what !== undefined).length === 1, {
    error: "give one of 'program', 'sources', 'entry' and 'image'",
  })
  .refine((config) => config.entrypoint === undefined || config.image !== undefined, { error: "'entrypoint' is of an 'image'" });

/** ukl.schema.json. */
export function jsonSchema(): string {
  return `${JSON.stringify({ $id: 'ukl.schema.json', title: 'ukl.config.json', ...z.toJSONSchema(configSchema, { io: 'input' }) }, null, 2)}\n`;
}

/** What a project writes in its ukl.config. */
export type UklConfig = z.input<typeof configSchema>;
/** The same with the defaults filled in. */
export type ResolvedConfig = z.output<typeof configSchema>;

/** Gives a ukl.config.ts its types. */
export function defineConfig(config: UklConfig): UklConfig {
  return config;
}
