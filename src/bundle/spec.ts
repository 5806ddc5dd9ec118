// SPDX-License-Identifier: MIT
/** A container as engines describe it: config.json of the OCI's runtime specification, as far as it concerns a machine. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf, UklError } from '../lib/errors.js';

const id = z
  .int()
  .min(0)
  .max(2 ** 32 - 2);

export const processSchema = z.object({
  terminal: z.boolean().default(false),
  consoleSize: z.object({ height: z.int().min(0), width: z.int().min(0) }).optional(),
  user: z.object({ uid: id.default(0), gid: id.default(0), additionalGids: z.array(id).default([]) }).prefault({}),
  args: z.array(z.string()).min(1, 'nothing to start'),
  env: z.array(z.string()).default([]),
  cwd: z.string().startsWith('/', 'not absolute'),
});

const hook = z.object({
  path: z.string().startsWith('/', 'not absolute'),
  args: z.array(z.string()).optional(),
  env: z.array(z.string()).default([]),
  /** In seconds. */
  timeout: z.number().positive().optional(),
});

export const HOOKS = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'] as const;
export type HookName = (typeof HOOKS)[number];
const hooks = z.array(hook).default([]);

export const bundleConfig = z.object({
  ociVersion: z.string(),
  process: processSchema,
  root: z.object({ path: z.string().min(1) }),
  hostname: z.string().optional(),
  mounts: z
    .array(
      z.object({
        destination: z.string().min(1),
        type: z.string().optional(),
        source: z.string().optional(),
        options: z.array(z.string()).default([]),
      }),
    )
    .default([]),
  hooks: z.object({ prestart: hooks, createRuntime: hooks, createContainer: hooks, startContainer: hooks, poststart: hooks, poststop: hooks }).prefault({}),
  annotations: z.record(z.string(), z.string()).default({}),
  linux: z
    .object({
      namespaces: z.array(z.object({ type: z.string(), path: z.string().optional() })).default([]),
      cgroupsPath: z.string().optional(),
      resources: z
        .object({
          memory: z.object({ limit: z.number().optional() }).optional(),
          cpu: z.object({ quota: z.number().optional(), period: z.number().optional() }).optional(),
        })
        .default({}),
    })
    .prefault({}),
});

export type Hook = z.output<typeof hook>;
export type BundleProcess = z.output<typeof processSchema>;
export type BundleConfig = z.output<typeof bundleConfig>;

/** The versions of the specification whose containers are understood. */
export const OCI_VERSIONS = { min: '1.0.0', max: '1.1.0' } as const;

/** A JSON file of an engine's. Throws UKL_CONFIG. */
export async function readDocument<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new UklError('UKL_CONFIG', `${path} cannot be read: ${errnoOf(cause) ?? String(cause)}`, {
      hint: 'a bundle is a directory with a config.json',
      cause,
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new UklError('UKL_CONFIG', `${path} is no JSON`, { hint: 'have the engine make the container again', cause });
  }
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [first] = error.issues;
  throw new UklError('UKL_CONFIG', `${path}: ${first?.path.join('.')}: ${first?.message}`, {
    details: z.prettifyError(error),
    hint: 'the runtime specification 1.1 says what it has to be',
  });
}

/** The configuration of a bundle. Throws UKL_CONFIG. */
export async function readBundle(directory: string): Promise<BundleConfig> {
  const config = await readDocument(join(directory, 'config.json'), bundleConfig);
  if (!config.ociVersion.startsWith('1.'))
    throw new UklError('UKL_CONFIG', `the bundle is of version ${config.ociVersion} of the runtime specification`, {
      hint: `${OCI_VERSIONS.min} to ${OCI_VERSIONS.max}`,
    });
  return config;
}
