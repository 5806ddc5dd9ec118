// SPDX-License-Identifier: MIT
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { UklError } from '../lib/errors.js';
import type { Volume } from '../model/index.js';

const READONLY = ':ro';

/** The parts of "DIRECTORY:/path[:ro]". Throws UKL_USAGE. */
export function splitVolume(text: string): Volume {
  const readonly = text.endsWith(READONLY);
  const both = readonly ? text.slice(0, -READONLY.length) : text;
  const colon = both.lastIndexOf(':');
  const path = both.slice(colon + 1);
  if (colon < 1 || !path.startsWith('/') || path === '/') {
    throw new UklError('UKL_USAGE', `expected a volume as DIRECTORY:/path[:ro], for example ./data:/data, got '${text}'`);
  }
  return { directory: both.slice(0, colon), path, ...(readonly ? { readonly } : {}) };
}

export const resolveVolume = (volume: Volume, relativeTo: string): Volume => ({ ...volume, directory: resolve(relativeTo, volume.directory) });

/** A volume with its directory as an absolute path. */
export const parseVolume = (text: string, relativeTo = process.cwd()): Volume => resolveVolume(splitVolume(text), relativeTo);

/** Throws UKL_VOLUME if the host has no such directory. */
export async function checkVolume({ directory }: Volume): Promise<void> {
  const info = await stat(directory).catch(() => undefined);
  if (info?.isDirectory()) return;
  throw new UklError('UKL_VOLUME', `${directory} ${info ? 'is not a directory' : 'does not exist'}`, { hint: `mkdir ${directory}` });
}
