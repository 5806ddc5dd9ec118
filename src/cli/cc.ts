// SPDX-License-Identifier: MIT

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { ensurePackages } from '../host/requirements.js';
import { UklError } from '../lib/errors.js';
import { getCompiler } from '../libc/compiler.js';
import { requirements } from '../libc/glibc.js';
import { EXIT, statusOfSignal } from '../model/exit-status.js';
import { type GlobalOptions, logFor, printJson } from './output.js';

export interface CcFlags extends GlobalOptions {
  readonly print?: boolean;
  readonly cxx?: boolean;
}

/** `ukl cc`: runs ukl-gcc (or ukl-g++), or tells where it is. */
export async function ccCommand(args: readonly string[], flags: CcFlags, signal: AbortSignal): Promise<number> {
  const log = logFor(flags);
  await ensurePackages(log, [...requirements, ...(flags.cxx ? [{ package: 'g++', why: 'compiles C++', file: '/usr/bin/g++' }] : [])], signal);
  const libc = await getCompiler('complete', { log, signal });
  const path = join(libc.bin, flags.cxx ? 'ukl-g++' : 'ukl-gcc');
  if (flags.json) {
    if (args.length > 0) throw new UklError('UKL_USAGE', '--json tells where the compiler is; what it prints is no JSON', { hint: 'ukl cc -- ARGS' });
    printJson({ ok: true, path, libc });
    return EXIT.ok;
  }
  if (flags.print || args.length === 0) {
    process.stdout.write(`${path}\n`);
    return EXIT.ok;
  }
  const child = spawn(path, args, { stdio: 'inherit' });
  // The compiler removes what it has half written, and ends by the same signal.
  const pass = (): boolean => child.kill(signal.reason as NodeJS.Signals);
  signal.addEventListener('abort', pass, { once: true });
  if (signal.aborted) pass();
  const [status, killed] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return status ?? statusOfSignal(killed ?? 'SIGKILL');
}
