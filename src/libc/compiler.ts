// SPDX-License-Identifier: MIT
import { chmod, copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hashFile } from '../lib/hash.js';
import { projectRoot } from '../lib/paths.js';
import type { Libc } from '../model/index.js';
import { fromStore, type StoreContext } from '../store/store.js';
import { getGlibc, type LibcKind } from './glibc.js';

const HEADERS = join(projectRoot, 'include');

/** The library's own compiler, with one more place for headers. */
const wrapper = (compiler: string): string => `#!/bin/sh
exec ${compiler} -isystem "$(dirname "$(readlink -f "$0")")/../include" "$@"
`;

/**
 * Our C library with ukl-gcc and ukl-g++ as users have them: they find <ukl.h> and its like.
 * Apart from the library, which takes minutes to build.
 *
 * @throws UKL_SOURCE, UKL_COMMAND
 */
export async function getCompiler(kind: LibcKind, context: StoreContext): Promise<Libc> {
  const libc = await getGlibc(kind, context);
  const wrappers = Object.fromEntries(['ukl-gcc', 'ukl-g++'].map((name) => [name, wrapper(join(libc.bin, name))]));
  const headers: Record<string, string> = {};
  for (const name of (await readdir(HEADERS)).sort()) headers[name] = await hashFile(join(HEADERS, name));
  const path = await fromStore(
    {
      kind: 'compiler',
      title: 'install ukl-gcc',
      key: { wrappers, headers },
      make: async ({ output }) => {
        await mkdir(join(output, 'bin'));
        await mkdir(join(output, 'include'));
        for (const name of Object.keys(headers)) await copyFile(join(HEADERS, name), join(output, 'include', name));
        for (const [name, text] of Object.entries(wrappers)) {
          await writeFile(join(output, 'bin', name), text);
          await chmod(join(output, 'bin', name), 0o755);
        }
      },
    },
    context,
  );
  return { ...libc, bin: join(path, 'bin') };
}
