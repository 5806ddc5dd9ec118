// SPDX-License-Identifier: MIT
/** Functions of this host behind a gateway. */
import { UklError } from '../lib/errors.js';
import { type Log, silentLog } from '../lib/log.js';
import { buildFunction } from './build.js';
import type { FunctionSource } from './discover.js';
import { type Gateway, type GatewayOptions, startGateway } from './gateway.js';
import { localBackend } from './local.js';
import type { Served } from './service.js';

export interface ServeOptions extends GatewayOptions {
  /** Values of secrets, by function and name. */
  readonly secrets?: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined;
  readonly log?: Log | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A gateway with the guests behind it. */
export interface LocalGateway extends Gateway {
  /** Builds a new version of a function; the one before goes on until then. Throws what keeps it from being built. */
  rebuild(source: FunctionSource): Promise<void>;
}

/** What a function gets of the gateway's variables and secrets. Throws UKL_CONFIG for one that is missing. */
function variablesOf({ name, options }: FunctionSource, secrets: ServeOptions['secrets']): Readonly<Record<string, string>> {
  const given: Record<string, string> = {};
  for (const key of options.env) {
    const value = process.env[key];
    if (value !== undefined) given[key] = value;
  }
  for (const key of options.secrets) {
    const value = secrets?.[name]?.[key];
    if (value === undefined)
      throw new UklError('UKL_CONFIG', `the function ${name} needs the secret ${key}`, { hint: `--secrets FILE, with {"${name}": {"${key}": "..."}}` });
    given[key] = value;
  }
  return given;
}

/**
 * Serves functions by HTTP, in guests of this host.
 *
 * @throws UKL_CONFIG for options that do not fit together, UKL_PORT_TAKEN, and what keeps a function from being built
 */
export async function serveFunctions(sources: readonly FunctionSource[], options: ServeOptions = {}): Promise<LocalGateway> {
  const context = { log: options.log ?? silentLog, signal: options.signal, say: options.onLine ?? (() => {}) };
  const served = (source: FunctionSource): Served => ({
    name: source.name,
    options: source.options,
    backend: localBackend(source, variablesOf(source, options.secrets), context),
  });
  const gateway = await startGateway(sources.map(served), options);
  return {
    ...gateway,
    async rebuild(source) {
      const next = served(source);
      await buildFunction(source, context);
      gateway.replace(next);
    },
  };
}
