// SPDX-License-Identifier: MIT

/** How many letters have to be put in, taken out or changed (Levenshtein, row by row). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [index, letter] of [...from].entries()) {
    const next = [index + 1];
    for (let at = 1; at <= to.length; at++) {
      const change = (row[at - 1] ?? 0) + (to[at - 1] === letter ? 0 : 1);
      next.push(Math.min(change, (row[at] ?? 0) + 1, (next[at - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

/** The name that somebody may have meant; undefined if none is near. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const [first] = names.map((name) => ({ name, far: distance(word.toLowerCase(), name.toLowerCase()) })).sort((a, b) => a.far - b.far);
  return first === undefined || first.far > Math.max(1, word.length / 2.5) ? undefined : first.name;
}
