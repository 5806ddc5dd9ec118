// SPDX-License-Identifier: MIT
/** `ukl.compose.ts` and its like: several guests on one network. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { evaluate } from '../config/load.js';
import { UklError } from '../lib/errors.js';
import { nearest } from '../lib/nearest.js';
import { TIMEOUT_MAX } from '../model/image.js';
import { OPTIONS, optionsIn, type Shape } from '../options/options.js';

const NAMES = ['ukl.compose.ts', 'ukl.compose.mts', 'ukl.compose.js', 'ukl.compose.mjs', 'ukl.compose.yaml', 'ukl.compose.yml', 'ukl.compose.json'];

/** What the network of the project decides. */
const OURS = ['net', 'network', 'macAddress', 'hostname', 'hosts'] as const;

const given = Object.fromEntries(
  [...new Set([...optionsIn('run'), ...optionsIn('build')])]
    .filter((name) => !(OURS as readonly string[]).includes(name))
    // A default is the image's business, not the file's.
    .map((name) => [name, OPTIONS[name].schema instanceof z.ZodDefault ? OPTIONS[name].schema.unwrap().optional() : OPTIONS[name].schema.optional()]),
) as unknown as Omit<Shape<'run'> & Shape<'build'>, (typeof OURS)[number]>;

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,30}$/, 'a name of small letters, digits and dashes');

const service = z.strictObject({
  ...given,
  /** As for `ukl run`, from the file's directory. */
  target: z.string(),
  dependsOn: z.union([z.array(name), z.record(name, z.enum(['started', 'healthy', 'completed']))]).default([]),
  restart: z.string().optional(),
  health: z
    .strictObject({
      test: z.string(),
      interval: z.number().positive().max(TIMEOUT_MAX, `expected at most ${TIMEOUT_MAX} seconds`).default(5),
      retries: z.number().int().min(1).default(3),
    })
    .optional(),
  cpuLimit: z.number().positive().optional(),
  stopSignal: z.string().optional(),
});

const composeSchema = z.strictObject({ name: name.optional(), services: z.record(name, service) });

export type Compose = z.input<typeof composeSchema>;
export type Service = z.output<typeof service>;

/** Gives a ukl.compose.ts its types. */
export function defineCompose(compose: Compose): Compose {
  return compose;
}

export interface Project {
  readonly name: string;
  /** The file's. */
  readonly directory: string;
  readonly services: Readonly<Record<string, Service>>;
}

/** Each issue on a line, with the key that was probably meant. */
function explain(error: z.ZodError): string {
  const keys = [...Object.keys(service.shape), ...Object.keys(composeSchema.shape)];
  const hints = error.issues.flatMap((issue) =>
    issue.code !== 'unrecognized_keys'
      ? []
      : issue.keys.flatMap((key) => (nearest(key, keys) === undefined ? [] : [`  ${key}: did you mean '${nearest(key, keys)}'?`])),
  );
  return [z.prettifyError(error), ...hints].join('\n');
}

/** Throws UKL_CONFIG for services that wait for each other, or for one that is not there. */
function checkDependencies(services: Project['services'], where: string): void {
  for (const [from, { dependsOn }] of Object.entries(services)) {
    for (const to of namesOf(dependsOn)) {
      if (Object.hasOwn(services, to)) continue;
      const near = nearest(to, Object.keys(services));
      throw new UklError(
        'UKL_CONFIG',
        `${where}: '${from}' depends on '${to}', which is no service`,
        near === undefined ? {} : { hint: `did you mean '${near}'?` },
      );
    }
  }
  orderOf(services);
}

/** The services that one depends on. */
export const namesOf = (dependsOn: Service['dependsOn']): readonly string[] => (Array.isArray(dependsOn) ? dependsOn : Object.keys(dependsOn));

/** The names, each behind those that it depends on. Throws UKL_CONFIG for a circle. */
export function orderOf(services: Project['services']): string[] {
  const order: string[] = [];
  const visit = (one: string, path: readonly string[]): void => {
    if (order.includes(one)) return;
    if (path.includes(one)) throw new UklError('UKL_CONFIG', `services wait for each other: ${[...path.slice(path.indexOf(one)), one].join(' -> ')}`);
    for (const before of namesOf(services[one]?.dependsOn ?? [])) visit(before, [...path, one]);
    order.push(one);
  };
  for (const one of Object.keys(services)) visit(one, []);
  return order;
}

/**
 * Reads a project's file: the given one, or that of a directory.
 *
 * @throws UKL_CONFIG
 */
export async function loadProject(where: string): Promise<Project> {
  const path = NAMES.map((file) => join(where, file)).find((file) => existsSync(file)) ?? where;
  if (!existsSync(path) || path === '.' || NAMES.every((file) => existsSync(join(where, file)) === false && where === path && !/\.[a-z]+$/.test(path)))
    throw new UklError('UKL_CONFIG', `${where} has no ukl.compose.ts or ukl.compose.yaml`, { hint: 'docs/guests.md has an example' });
  let value: unknown;
  try {
    value = /\.[cm]?[jt]s$/.test(path) ? await evaluate(path) : parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new UklError('UKL_CONFIG', `could not load ${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  const { success, data, error } = composeSchema.safeParse(value);
  if (!success) throw new UklError('UKL_CONFIG', `${path} is not valid`, { details: explain(error), hint: 'docs/guests.md' });
  const directory = dirname(resolve(path));
  const plain =
    basename(directory)
      .toLowerCase()
      .replace(/[^a-z0-9-]+/g, '-')
      .replace(/^-+/, '')
      .slice(0, 30) || 'project';
  checkDependencies(data.services, path);
  return { name: data.name ?? plain, directory, services: data.services };
}
