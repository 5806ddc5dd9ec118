// SPDX-License-Identifier: MIT

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { ensurePackages } from '../host/requirements.js';
import { getCompiler } from '../libc/compiler.js';
import { requirements } from '../libc/glibc.js';
import { EXIT } from '../model/exit-status.js';
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
    printJson({ ok: true, path, libc });
    return EXIT.ok;
  }
  if (flags.print || args.length === 0) {
    process.stdout.write(`${path}\n`);
    return EXIT.ok;
  }
  const child = spawn(path, args, { stdio: 'inherit' });
  const [status] = (await once(child, 'close')) as [number | null];
  return status ?? EXIT.failed;
}
