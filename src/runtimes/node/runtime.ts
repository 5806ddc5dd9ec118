// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { functionName, isFunction } from '../functions.js';
import type { Runtime } from '../runtime.js';
import { findEntry, isScript, makeNodeApp, scriptName } from './node.js';
import { getNode } from './release.js';

/** "node@24" -> "24" */
export const wantedNode = (runtime: string): string => runtime.slice('node@'.length);

export const node: Runtime = {
  name: 'node',
  title: 'TypeScript and JavaScript, by Node.js',
  // Node.js alone is 110 MB, and in memory twice while the guest starts.
  defaultMemory: '512M',
  dev: true,
  requirements: () => [],
  takes: ({ entry }) => entry !== undefined,
  fromFile: async (path) => {
    if (!isScript(path)) return undefined;
    if (!isFunction(path)) return { name: scriptName(path), config: { entry: path } };
    return { name: functionName(basename(path)), config: { entry: path, function: {} } };
  },
  fromDirectory: async (path) => (existsSync(join(path, 'package.json')) ? { entry: await findEntry(path) } : undefined),
  async build({ config, directory, ...context }) {
    const app = await makeNodeApp({
      ...config,
      ...context,
      entry: resolve(directory, config.entry ?? ''),
      function: config.function !== undefined,
      node: await getNode(wantedNode(config.runtime), context),
      workDir: context.outDir,
    });
    return { ...app, takesLibc: true, tree: directory };
  },
};
