// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { hashDebianTarball } from '../host/debian.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import { hashFile, hashFileOnce } from '../lib/hash.js';
import type { KernelSpec } from '../model/index.js';
import { fromStore, type StoreContext } from '../store/store.js';
import { type KernelLine, kernelLines } from './lines.js';

type SourceSpec = Pick<KernelSpec, 'line' | 'flavour' | 'tarball'>;

export interface KernelSource {
  /** Root of an unpacked tree; never written to. */
  readonly path: string;
  /** "6.12.117", as the tree's Makefile says. */
  readonly version: string;
  /** SHA-256 of the tarball. */
  readonly tarball: string;
  /** SHA-256 of the applied patches by file name; empty for the stock tree. */
  readonly patches: Readonly<Record<string, string>>;
}

async function listPatches(directory: string): Promise<string[]> {
  const names = await readdir(directory);
  return names
    .filter((name) => name.endsWith('.patch'))
    .sort()
    .map((name) => join(directory, name));
}

/** The patches of a line's series, in order. */
export const listSeries = (line: KernelLine): Promise<string[]> => listPatches(line.series);

/** The patches that any Linux could use, in order. */
export const listGeneral = (line: KernelLine): Promise<string[]> => listPatches(line.general);

/** All patches of our kernel, in the order in which they are applied. */
export const listAll = async (line: KernelLine): Promise<string[]> => [...(await listSeries(line)), ...(await listGeneral(line))];

async function applySeries(line: KernelLine, tree: string, progress: (detail: string) => void, log: string): Promise<void> {
  for (const patch of await listAll(line)) {
    progress(basename(patch));
    // -F0: a patch that needs fuzz was made for another kernel.
    await exec('patch', ['-p1', '-F0', '--batch', '--forward', '-i', patch], { cwd: tree, log }).catch((error: unknown) => {
      const output = error instanceof UklError ? (error.details ?? '') : '';
      const file = /patching file (\S+)(?![\s\S]*patching file[\s\S]*FAILED)/.exec(output)?.[1];
      throw new UklError('UKL_PATCH', `${basename(patch)} does not apply${file ? ` to ${file}` : ''}`, {
        details: output,
        log,
        hint: `the series is for Linux ${line.name}: pass --kernel-source with a tarball of that line`,
        cause: error,
      });
    });
  }
}

export type SourceKey = Pick<KernelSource, 'tarball' | 'patches'>;

/** What determines a source tree: the tarball's hash and the patches'. Nothing is unpacked for it. */
export async function sourceKey({ line: name, flavour, tarball: given }: SourceSpec): Promise<SourceKey> {
  const line = kernelLines.get(name);
  const tarball = given ?? line.source.tarball;
  if (!existsSync(tarball)) {
    throw new UklError('UKL_SOURCE', `no kernel source: ${tarball} does not exist`, { hint: 'ukl doctor' });
  }
  const patches: Record<string, string> = {};
  if (flavour === 'ukl') {
    for (const patch of await listAll(line)) patches[join(basename(dirname(patch)), basename(patch))] = await hashFile(patch);
  }
  return { tarball: await (given === undefined ? hashDebianTarball(line.source.package, tarball) : hashFileOnce(tarball)), patches };
}

/**
 * An unpacked kernel tree, with or without the series.
 *
 * @throws UKL_SOURCE, UKL_PATCH
 */
export async function getKernelSource(spec: SourceSpec, context: StoreContext): Promise<KernelSource> {
  const line = kernelLines.get(spec.line);
  const patched = spec.flavour === 'ukl';
  const tarball = spec.tarball ?? line.source.tarball;
  const { tarball: tarballHash, patches } = await sourceKey(spec);

  const path = await fromStore(
    {
      kind: patched ? 'source-ukl' : 'source-stock',
      title: patched ? 'unpack and patch the kernel source' : 'unpack the kernel source',
      key: { tarball: tarballHash, patches },
      make: async ({ output, work, progress, log }) => {
        await rm(work, { recursive: true, force: true });
        await exec('mkdir', ['-p', work]);
        progress(basename(tarball));
        await exec('tar', ['-x', '-f', tarball, '-C', work], { log, signal: context.signal, errorCode: 'UKL_SOURCE' });
        const [root] = await readdir(work);
        if (root === undefined || !existsSync(join(work, root, 'Kbuild'))) {
          throw new UklError('UKL_SOURCE', `${tarball} does not hold a kernel tree`);
        }
        if (patched) await applySeries(line, join(work, root), progress, log);
        await rename(join(work, root), join(output, 'linux'));
      },
    },
    context,
  );
  const tree = join(path, 'linux');
  const makefile = await readFile(join(tree, 'Makefile'), 'utf8');
  const part = (name: string): string => new RegExp(`^${name} = (.*)$`, 'm').exec(makefile)?.[1] ?? '';
  return {
    path: tree,
    version: `${part('VERSION')}.${part('PATCHLEVEL')}.${part('SUBLEVEL')}`,
    tarball: tarballHash,
    patches,
  };
}
