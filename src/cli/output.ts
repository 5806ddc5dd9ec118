// SPDX-License-Identifier: MIT

import pc from 'picocolors';
import { asUklError } from '../lib/errors.js';
import { createLog, type Log } from '../lib/log.js';
import type { ImageManifest } from '../model/index.js';

export interface GlobalOptions {
  readonly json?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  readonly debug?: boolean | undefined;
}

export function logFor(options: GlobalOptions): Log {
  return createLog({ quiet: options.quiet === true || options.json === true });
}

/** One JSON document on standard output; `version` changes when members do. */
export function printJson(value: object): void {
  process.stdout.write(`${JSON.stringify({ version: 1, ...value }, null, 2)}\n`);
}

/** Prints a failure, for people or for programs. */
export function reportError(error: unknown, options: GlobalOptions): void {
  const failure = asUklError(error);
  if (options.json) {
    const { code, message, hint, details, log } = failure;
    printJson({ ok: false, error: { code, message, hint, details, log } });
  } else {
    const lines = [`${pc.red('✖')} ${failure.message} ${pc.dim(`[${failure.code}]`)}`];
    if (failure.details) lines.push(...failure.details.split('\n').map((line) => `  ${line}`));
    if (failure.hint) lines.push(`${pc.bold('next:')} ${failure.hint}`);
    if (failure.log) lines.push(`log: ${failure.log}`);
    process.stderr.write(`${lines.join('\n')}\n`);
  }
  if (options.debug) process.stderr.write(`${failure.stack ?? ''}\n${failure.cause instanceof Error ? `caused by: ${failure.cause.stack}` : ''}\n`);
}

/** What a fitted kernel has, and why, and what it was built without. */
export function describeFit(fit: ImageManifest['kernel']['fit']): string[] {
  if (fit === undefined) return [];
  return [...fit.has.map(({ feature, why }) => `  has        ${feature.padEnd(12)} ${why}`), `  left out   ${fit.leftOut.join(' ')}`];
}
