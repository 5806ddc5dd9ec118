// SPDX-License-Identifier: MIT
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { buildFunction } from '../functions/build.js';
import { devFunctions } from '../functions/dev.js';
import { discover } from '../functions/discover.js';
import { type Gateway, startGateway } from '../functions/gateway.js';
import { readRemotes } from '../functions/remote.js';
import { type ServeOptions, serveFunctions } from '../functions/serve.js';
import { UklError } from '../lib/errors.js';
import { formatSize } from '../lib/size.js';
import { EXIT, statusOfSignal } from '../model/exit-status.js';
import { type GlobalOptions, logFor, printJson } from './output.js';
import { type Interruptible, SIGNALS } from './run.js';

export interface FunctionFlags extends GlobalOptions {
  readonly port?: number;
  readonly address?: string;
  readonly statusPort?: number;
  readonly statusAddress?: string;
  readonly warm?: number;
  readonly max?: number;
  readonly lazy?: boolean;
  readonly secrets?: string;
  readonly backends?: string;
}

const secretsSchema = z.record(z.string(), z.record(z.string(), z.string()));

/** A JSON file of values by function and name. Throws UKL_CONFIG. */
async function readSecrets(path: string | undefined): Promise<ServeOptions['secrets']> {
  if (path === undefined) return undefined;
  const text = await readFile(path, 'utf8');
  try {
    return secretsSchema.parse(JSON.parse(text));
  } catch {
    // What is in it is not for a message.
    throw new UklError('UKL_CONFIG', `${path} is no file of secrets`, { hint: '{"function": {"NAME": "value"}}' });
  }
}

/** `ukl functions build` */
export async function buildFunctionsCommand(paths: readonly string[], flags: GlobalOptions, signal: AbortSignal): Promise<number> {
  const built: object[] = [];
  for (const source of await discover(paths)) {
    const { name, directory, bytes } = await buildFunction(source, { log: logFor(flags), signal });
    built.push({ name: source.name, snapshot: name, directory, bytes });
    if (!flags.json && !flags.quiet) process.stdout.write(`${source.name}: ${formatSize(bytes)} in ${directory}\n`);
  }
  if (flags.json) printJson({ ok: true, functions: built });
  return EXIT.ok;
}

/** `ukl functions serve` and, with `dev`, `ukl functions dev`: until a signal. */
export async function serveFunctionsCommand(paths: readonly string[], flags: FunctionFlags, { signal, release }: Interruptible, dev: boolean): Promise<number> {
  const log = logFor(flags);
  const options: ServeOptions = {
    ...flags,
    secrets: await readSecrets(flags.secrets),
    log,
    signal,
    onLine: (line) => void process.stdout.write(`${line}\n`),
  };
  const sources = await discover(paths);
  await using gateway = await serveFunctions(sources, options);
  using _watch = dev ? devFunctions(sources, gateway, log) : undefined;
  return await untilSignal(gateway, flags, { signal, release });
}

/** `ukl functions gateway`: functions that run elsewhere, until a signal. */
export async function gatewayCommand(flags: FunctionFlags, interruption: Interruptible): Promise<number> {
  const path = flags.backends ?? '';
  const served = readRemotes(await readFile(path, 'utf8'), path);
  const onLine = (line: string): void => void process.stdout.write(`${line}\n`);
  await using gateway = await startGateway(served, { ...flags, max: flags.max ?? Number.POSITIVE_INFINITY, onLine });
  return await untilSignal(gateway, flags, interruption);
}

async function untilSignal(gateway: Gateway, flags: FunctionFlags, { signal, release }: Interruptible): Promise<number> {
  const log = logFor(flags);
  signal.throwIfAborted();
  release();
  if (flags.json) printJson({ ok: true, url: gateway.url, status: gateway.statusUrl, functions: gateway.show().map(({ name }) => name) });
  else
    log.info(
      `${gateway.url}: ${gateway
        .show()
        .map(({ path }) => path)
        .join(', ')}; status: ${gateway.statusUrl}/`,
    );
  const name = await new Promise<NodeJS.Signals>((resolve) => {
    for (const one of SIGNALS) process.once(one, () => resolve(one));
  });
  // Whoever repeats it does not want to wait.
  for (const one of SIGNALS) process.once(one, () => process.exit(statusOfSignal(one)));
  log.info(`${name}: what is under way ends first`);
  return EXIT.ok;
}
