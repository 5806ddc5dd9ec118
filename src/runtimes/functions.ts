// SPDX-License-Identifier: MIT
/** What functions have in common, whatever they are written in (docs/functions.md). */

/** Where their servers listen: guest/supervisors/node/function.mts, include/ukl-function.h. */
export const FUNCTION_PORT = 8080;

/** What those answer themselves, at once. */
export const WARM_PATH = '/.ukl/warm';

/** Files whose default export is a function. */
export const isScriptFunction = (path: string): boolean => /\.function\.[cm]?[jt]s$/.test(path);

/** Files that are a function, as a whole program. */
export const isFunction = (path: string): boolean => isScriptFunction(path) || path.endsWith('.function.c');

/** The file of a configuration that is a function, as it is named there. */
export const functionFileOf = ({
  entry,
  sources = [],
}: {
  readonly entry?: string | undefined;
  readonly sources?: readonly string[] | undefined;
}): string | undefined => [entry, ...sources].find((file) => file !== undefined && isFunction(file));

/** A file's name without the words that say what it is. */
export const functionName = (file: string): string => file.replace(/\.function\.([cm]?[jt]s|c)$/, '');
