// SPDX-License-Identifier: MIT
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { findConfig } from '../config/load.js';
import { type Deployed, type DeployOptions, deploy } from '../deploy/deploy.js';
import type { PlatformName } from '../deploy/platform.js';
import { deployFunctions } from '../functions/deploy.js';
import { discover, type FunctionSource } from '../functions/discover.js';
import { EXIT } from '../model/exit-status.js';
import type { BuildOptions } from '../options/given.js';
import { type GlobalOptions, printJson } from './output.js';

export type DeployFlags = GlobalOptions & {
  readonly to: PlatformName;
  readonly name?: string;
  readonly set?: Readonly<Record<string, string>>;
  readonly replace?: boolean;
  readonly dryRun?: boolean;
};

/** What is in a directory that is no project, but has functions. */
async function functionsIn(target: string): Promise<readonly FunctionSource[]> {
  const info = await stat(target).catch(() => undefined);
  return info?.isDirectory() === true && findConfig(target) === undefined ? discover([target], true) : [];
}

function showPlan({ directory, files, script }: Deployed): void {
  process.stdout.write(`# in ${directory}\n`);
  const directories = [...new Set(Object.keys(files).map(dirname))].filter((one) => one !== '.');
  if (directories.length > 0) process.stdout.write(`mkdir -p ${directories.join(' ')}\n`);
  for (const [file, text] of Object.entries(files)) process.stdout.write(`cat > ${file} <<'EOF'\n${text}EOF\n`);
  process.stdout.write(script);
}

/** `ukl deploy`: builds what a platform imports and runs its tools, or shows what would be run. */
export async function deployCommand(target: string, options: BuildOptions, flags: DeployFlags): Promise<number> {
  const { to, name, set, replace, dryRun, json } = flags;
  const how: DeployOptions = {
    ...options,
    ...{ to, name, settings: set, replace, dryRun },
    ...(json || dryRun ? {} : { onLine: (line: string) => void process.stdout.write(`${line}\n`) }),
  };
  const functions = await functionsIn(target);
  const deployed = functions.length > 0 ? await deployFunctions(target, functions, how) : [await deploy(target, how)];
  if (json) printJson(functions.length > 0 ? { ok: true, deployed } : { ok: true, ...deployed[0] });
  else if (dryRun) deployed.forEach(showPlan);
  return EXIT.ok;
}
