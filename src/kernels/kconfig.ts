// SPDX-License-Identifier: MIT
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UklError } from '../lib/errors.js';

/** What a .config or a fragment of one sets, as Kconfig reads it: of two lines the later counts. */
export function readOptions(text: string): Map<string, string> {
  const options = new Map<string, string>();
  for (const [, unset, name = '', value] of text.matchAll(/^(?:# (CONFIG_\w+) is not set|(CONFIG_\w+)=(.*))$/gm)) options.set(unset ?? name, value ?? 'n');
  return options;
}

/**
 * The options that a fragment asks for and a .config lacks. Kconfig drops an
 * option whose dependencies are missing without a word.
 */
export function missingOptions(fragment: string, config: string): string[] {
  const have = readOptions(config);
  return [...readOptions(fragment)].filter(([name, value]) => (have.get(name) ?? 'n') !== value).map(([name, value]) => `${name}=${value}`);
}

/** Somebody's own fragment, which must not ask for what an image cannot have. */
export async function readFragment(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new UklError('UKL_NO_FILE', `the kernel's options cannot be read: ${file}`, { cause, hint: 'a file with lines like CONFIG_XFS_FS=y' });
  });
  const options = readOptions(text);
  const module = [...options].find(([, value]) => value === 'm');
  if (module) throw new UklError('UKL_KERNEL_CONFIG', `${file} asks for ${module[0]}=m, and images carry no modules of drivers`, { hint: `${module[0]}=y` });
  if (options.size === 0) throw new UklError('UKL_KERNEL_CONFIG', `${file} sets no option`, { hint: 'lines like CONFIG_XFS_FS=y' });
  return text;
}

/**
 * Has Kconfig make a .config in `work` of a fragment, and of nothing else.
 * `make` is the kernel's, out of its tree.
 *
 * @throws UKL_KERNEL_CONFIG if an option of the fragment is not in it
 */
export async function configure(fragment: string, work: string, make: (targets: readonly string[]) => Promise<unknown>, log: string): Promise<void> {
  const file = join(work, 'fragment.config');
  await writeFile(file, fragment);
  await make([`KCONFIG_ALLCONFIG=${file}`, 'allnoconfig']);
  const dropped = missingOptions(fragment, await readFile(join(work, '.config'), 'utf8'));
  if (dropped.length > 0) {
    throw new UklError('UKL_KERNEL_CONFIG', `Kconfig did not take: ${dropped.join(', ')}`, {
      hint: 'what they depend on (depends on, in the Kconfig files) has to be set as well',
      log,
    });
  }
}
