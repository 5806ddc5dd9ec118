// SPDX-License-Identifier: MIT

/** A word as a shell has to be given it. */
export function shellQuote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A word of a command line to copy, in which $DIR stays a variable. */
export function shellWord(word: string): string {
  return word.includes('$DIR') ? `"${word.replaceAll(/["\\`]|\$(?!DIR)/g, '\\$&')}"` : shellQuote(word);
}
