// SPDX-License-Identifier: MIT
import pc from 'picocolors';
import { asUklError } from '../lib/errors.js';
import { createLog, type Log } from '../lib/log.js';

export interface GlobalOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly debug?: boolean;
}

export function logFor(options: GlobalOptions): Log {
  return createLog({ quiet: options.quiet === true || options.json === true });
}

/** One JSON document on standard output; `version` changes when members do. */
export function printJson(value: object): void {
  process.stdout.write(`${JSON.stringify({ version: 1, ...value }, null, 2)}\n`);
}

/** Tells a failure as people or programs read it; returns the exit status. */
export function reportError(error: unknown, options: GlobalOptions): number {
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
  return failure.exitCode;
}
