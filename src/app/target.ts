// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { findConfig, loadConfig, parseConfig } from '../config/load.js';
import { UklError } from '../lib/errors.js';
import { findReference, nameOf } from '../oci/reference.js';
import { configSchema, type ResolvedConfig, type UklConfig } from '../options/config.js';
import { runtimeOf, runtimes } from '../runtimes/index.js';
import type { Runtime } from '../runtimes/runtime.js';

/** What the user handed in, with the configuration that goes with it. */
export interface Target {
  readonly name: string;
  /** Relative paths of the configuration are meant from here. */
  readonly directory: string;
  readonly config: ResolvedConfig;
  readonly runtime: Runtime;
}

function target(name: string, directory: string, config: ResolvedConfig): Target {
  return { name, directory, config: { ...config, name }, runtime: runtimeOf(config) };
}

async function fromDirectory(path: string): Promise<Target> {
  if (findConfig(path) === undefined) {
    for (const runtime of runtimes.list()) {
      const config = await runtime.fromDirectory(path);
      if (config !== undefined) return target(basename(path), path, configSchema.parse(config));
    }
  }
  const config = await loadConfig(path);
  return target(config.name, path, config);
}

/**
 * Tells what a TARGET is: a file of one of the runtimes, a directory with a
 * ukl.config or what a runtime recognises, or where a container image is.
 *
 * @throws UKL_NO_TARGET, UKL_NOT_ELF, UKL_CONFIG
 */
export async function resolveTarget(what: string | UklConfig): Promise<Target> {
  if (typeof what !== 'string') {
    const config = parseConfig(what, 'the configuration');
    return target(config.name ?? 'app', process.cwd(), config);
  }
  const reference = existsSync(what) ? undefined : findReference(what);
  if (reference !== undefined) return target(nameOf(reference), process.cwd(), configSchema.parse({ image: what }));
  const path = resolve(what);
  const info = await stat(path).catch(() => undefined);
  if (!info) {
    throw new UklError('UKL_NO_TARGET', `${what} does not exist`, {
      hint: 'name a C, TypeScript or JavaScript file, an ELF program, a directory with a ukl.config.ts or a package.json, or a container image: HOST/NAME:TAG',
    });
  }
  if (info.isDirectory()) return fromDirectory(path);
  for (const runtime of runtimes.list()) {
    const found = await runtime.fromFile(path);
    if (found !== undefined) return target(found.name, process.cwd(), configSchema.parse(found.config));
  }
  throw new UklError('UKL_NOT_ELF', `${what} is neither a C, TypeScript or JavaScript file, an ELF program nor a project directory`, {
    hint: 'a script is run by its interpreter: ukl run /bin/bash --file SCRIPT -- SCRIPT',
  });
}
