// SPDX-License-Identifier: MIT
import { distance } from 'fastest-levenshtein';

/** The name that somebody may have meant; undefined if none is near. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const [first] = names.map((name) => ({ name, far: distance(word.toLowerCase(), name.toLowerCase()) })).sort((a, b) => a.far - b.far);
  return first === undefined || first.far > Math.max(1, word.length / 2.5) ? undefined : first.name;
}
