// SPDX-License-Identifier: MIT
import { UklError } from './errors.js';

const UNITS: Readonly<Record<string, number>> = {
  '': 1024 ** 2,
  K: 1024,
  KI: 1024,
  M: 1024 ** 2,
  MI: 1024 ** 2,
  G: 1024 ** 3,
  GI: 1024 ** 3,
};

/** "256M", "256Mi", "1G" or a plain number of MiB, in bytes. Throws UKL_USAGE. */
export function parseSize(text: string): number {
  const match = /^(\d+)\s*([kmg]?i?)b?$/i.exec(text.trim());
  const unit = match ? UNITS[(match[2] ?? '').toUpperCase()] : undefined;
  if (!match || unit === undefined) {
    throw new UklError('UKL_USAGE', `expected a size such as 256M or 1G, got '${text}'`);
  }
  return Number(match[1]) * unit;
}

/** Bytes for people: "312 MiB". */
export function formatSize(bytes: number): string {
  if (bytes >= 1024 ** 3) return `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
  if (bytes >= 1024 ** 2) return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  if (bytes >= 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${bytes} B`;
}
