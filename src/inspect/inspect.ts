// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findConfig, loadConfig } from '../config/load.js';
import { type CallSites, callSites } from '../elf/calls.js';
import { isElf } from '../elf/elf.js';
import { readSections, type Section } from '../elf/sections.js';
import { filesOf } from '../image/extract.js';
import { findImage } from '../image/find.js';
import { isImage, openImage } from '../image/image.js';
import { findKernel } from '../kernels/kernel.js';
import { UklError } from '../lib/errors.js';
import { silentLog } from '../lib/log.js';
import { makeScratch } from '../lib/scratch.js';
import type { Image } from '../model/index.js';
import type { Context } from '../options/given.js';
import type { StoreContext } from '../store/store.js';
import { type Surface, surfaceOf } from './surface.js';

export interface InspectOptions extends Context {
  /** List the system calls that the programs can make. */
  readonly calls?: boolean | undefined;
  /** List the sections of the programs and of the kernel. */
  readonly sections?: boolean | undefined;
}

/** One ELF file of an image. */
export interface ElfDetails {
  readonly path: string;
  readonly calls?: CallSites;
  readonly sections?: readonly Section[];
}

export interface Inspection {
  readonly image: Image;
  /** Empty if nothing about them was asked for. */
  readonly elf: readonly ElfDetails[];
  /** Undefined if they were not asked for, or if the kernel is not in the store any more. */
  readonly kernelSections: readonly Section[] | undefined;
  /** What of the kernel a program can get at; undefined if the kernel is not in the store any more. */
  readonly surface: Surface | undefined;
}

async function detailsOf(image: Image, { calls, sections }: InspectOptions): Promise<ElfDetails[]> {
  if (!calls && !sections) return [];
  await using scratch = await makeScratch('inspect');
  const details: ElfDetails[] = [];
  for await (const { path, data } of filesOf(image, (name) => !name.startsWith('/.ukl/'))) {
    const file = join(scratch.path, 'file');
    await writeFile(file, data);
    if (!(await isElf(file))) continue;
    details.push({ path, ...(calls ? { calls: await callSites(file) } : {}), ...(sections ? { sections: await readSections(file) } : {}) });
  }
  return details;
}

async function imageOf(target: string, context: StoreContext): Promise<string> {
  const found = await findImage(target, context);
  if (found !== undefined) return found;
  if (existsSync(target) && findConfig(target) !== undefined) {
    const { name } = await loadConfig(target);
    const path = join(target, '.ukl', `${name}.image`);
    if (await isImage(path)) return path;
  }
  const hint = existsSync(join(target, 'oci-layout')) ? `ukl inspect oci:${target}` : `ukl build ${target}`;
  throw new UklError('UKL_IMAGE', `${target} is not an image`, { hint });
}

/**
 * Reads an image, or the one that a project directory has.
 *
 * @throws UKL_IMAGE
 */
export async function inspect(target: string, options: InspectOptions = {}): Promise<Inspection> {
  const image = await openImage(await imageOf(target, { log: options.log ?? silentLog, signal: options.signal }));
  const elf = await (options.log ?? silentLog).step(`read ${image.manifest.name}`, () => detailsOf(image, options));
  const kernel = await findKernel(image.manifest.kernel.sha256);
  if (kernel === undefined) return { image, elf, kernelSections: undefined, surface: undefined };
  const sections = await readSections(kernel);
  return { image, elf, kernelSections: options.sections ? sections : undefined, surface: await surfaceOf(kernel, sections) };
}
