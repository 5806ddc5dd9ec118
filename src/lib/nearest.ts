// SPDX-License-Identifier: MIT
import { distance } from 'fastest-levenshtein';

<<<<<<< HEAD
/** The name that somebody may have meant; undefined if none is near. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const [first] = names.map((name) => ({ name, far: distance(word.toLowerCase(), name.toLowerCase()) })).sort((a, b) => a.far - b.far);
  return first === undefined || first.far > Math.max(1, word.length / 2.5) ? undefined : first.name;
=======
/** The candidate that a word was probably meant to be: at most a third of its letters differ. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const [best] = candidates.map((candidate) => ({ candidate, off: distance(word, candidate) })).sort((a, b) => a.off - b.off);
  return best !== undefined && best.off < word.length && best.off <= Math.max(2, Math.floor(word.length / 3)) ? best.candidate : undefined;
>>>>>>> cb13b09 (Detached guests: tests, and what they found)
}
