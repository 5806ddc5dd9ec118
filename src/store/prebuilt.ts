// SPDX-License-Identifier: MIT
/**
 * Results that a release carries in an npm package of their own, ukl-prebuilt:
 * the kernel and the C library, so that a first run need not compile them.
 * The build from source is the way that always works, and makes the same bits.
 */
import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { UklError } from '../lib/errors.js';
import { hashFile, hashValue } from '../lib/hash.js';
import { dependency } from '../lib/paths.js';

export const PACKAGE = 'ukl-prebuilt';

/** Describes an entry of the package: entries/NAME/prebuilt.json. */
export const prebuiltSchema = z.object({
  /** The hash of what determines the result, the compiler's version apart: the bits are there already. */
  key: z.string(),
  /** SHA-256 of each file by its path in the entry. */
  files: z.record(z.string(), z.string()),
});

export interface Prebuilt {
  /** Of the entry in the package: "kernel-6.12-ukl". */
  readonly name: string;
  readonly key: unknown;
}

export const prebuiltKey = ({ key }: Prebuilt): string => hashValue(key);

/** The package's directory: UKL_PREBUILT, or where npm has installed it. */
function packageRoot(): string | undefined {
  if (process.env.UKL_PREBUILT) return process.env.UKL_PREBUILT;
  try {
    return dependency(PACKAGE);
  } catch {
    return undefined;
  }
}

/** The directory of an entry that was made from the same inputs; undefined if there is none. */
export async function findPrebuilt(wanted: Prebuilt): Promise<string | undefined> {
  const root = packageRoot();
  if (root === undefined) return undefined;
  const entry = join(root, 'entries', wanted.name);
  const text = await readFile(join(entry, 'prebuilt.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return prebuiltSchema.safeParse(value).data?.key === prebuiltKey(wanted) ? entry : undefined;
}

/**
 * Copies an entry, and checks each file of it.
 *
 * @throws UKL_SOURCE if a file is not the one that was packed
 */
export async function copyPrebuilt(entry: string, output: string): Promise<void> {
  const { files } = prebuiltSchema.parse(JSON.parse(await readFile(join(entry, 'prebuilt.json'), 'utf8')));
  for (const [path, sha256] of Object.entries(files)) {
    await cp(join(entry, path), join(output, path), { recursive: true });
    if ((await hashFile(join(output, path))) !== sha256) {
      throw new UklError('UKL_SOURCE', `${join(entry, path)} is not the file that was packed`, {
        hint: `npm install ${PACKAGE}, or remove it to build from source`,
      });
    }
  }
}
