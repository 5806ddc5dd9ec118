// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readElf } from '../elf/elf.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';

/**
 * The shared objects that a dynamic ELF file needs, as its own loader finds
 * them on this host (RUNPATH, ld.so.cache and LD_LIBRARY_PATH included), the
 * loader first. The loader lists them without running the program.
 *
 * @throws UKL_MISSING_LIBRARY with the names
 */
export async function resolveLibraries(path: string): Promise<string[]> {
  const elf = await readElf(path);
  if (!elf.dynamic) return [];
  const loader = elf.interpreter ?? (elf.type === 'shared' ? '/lib64/ld-linux-x86-64.so.2' : undefined);
  if (loader === undefined) return [];
  if (!existsSync(loader)) {
    throw new UklError('UKL_MISSING_LIBRARY', `${path} needs the dynamic loader ${loader}, which is not on this host`, {
      hint: 'install the C library it was built for, or link it statically',
    });
  }
  let listing: string;
  try {
    listing = await exec(loader, ['--list', path]);
  } catch (error) {
    const details = error instanceof UklError ? (error.details ?? '') : '';
    // A static-pie has a dynamic section and no interpreter; nothing is needed.
    if (/statically linked/.test(details)) return [];
    const missing = /error while loading shared libraries: ([^:]+):/.exec(details)?.[1];
    throw new UklError('UKL_MISSING_LIBRARY', `${path} needs ${missing ?? 'a shared library'}, which was not found on this host`, {
      details,
      hint: missing === undefined ? `${loader} --list ${path}` : `apt-file search ${missing}, or set LD_LIBRARY_PATH`,
      cause: error,
    });
  }
  const missing: string[] = [];
  const found = new Set<string>(elf.interpreter === undefined ? [] : [loader]);
  for (const line of listing.split('\n')) {
    const match = /^\s*(\S+)(?: => (\/\S+|not found))?/.exec(line);
    if (!match) continue;
    if (match[2] === 'not found') missing.push(match[1] ?? '');
    else if (match[2] !== undefined) found.add(match[2]);
    else if (match[1]?.startsWith('/')) found.add(match[1]);
  }
  if (missing.length > 0) {
    throw new UklError('UKL_MISSING_LIBRARY', `${path} needs ${missing.join(', ')}, not found on this host`, {
      hint: `apt-file search ${missing[0]}, or set LD_LIBRARY_PATH`,
    });
  }
  // glibc opens it by itself, for pthread_cancel(), pthread_exit() and backtrace().
  const libc = [...found].find((path) => path.endsWith('/libc.so.6'));
  const unwinder = libc === undefined ? undefined : join(dirname(libc), 'libgcc_s.so.1');
  if (unwinder !== undefined && existsSync(unwinder)) found.add(unwinder);
  return [...found];
}
