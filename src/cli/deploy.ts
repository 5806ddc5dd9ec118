// SPDX-License-Identifier: MIT
import { dirname } from 'node:path';
import { deploy } from '../deploy/deploy.js';
import type { PlatformName } from '../deploy/platform.js';
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

/** `ukl deploy`: builds what a platform imports and runs its tools, or shows what would be run. */
export async function deployCommand(target: string, options: BuildOptions, flags: DeployFlags): Promise<number> {
  const { to, name, set, replace, dryRun, json } = flags;
  const deployed = await deploy(target, {
    ...options,
    ...{ to, name, settings: set, replace, dryRun },
    ...(json || dryRun ? {} : { onLine: (line: string) => void process.stdout.write(`${line}\n`) }),
  });
  if (json) printJson({ ok: true, ...deployed });
  else if (dryRun) {
    process.stdout.write(`# in ${deployed.directory}\n`);
    const directories = [...new Set(Object.keys(deployed.files).map(dirname))].filter((directory) => directory !== '.');
    if (directories.length > 0) process.stdout.write(`mkdir -p ${directories.join(' ')}\n`);
    for (const [file, text] of Object.entries(deployed.files)) process.stdout.write(`cat > ${file} <<'EOF'\n${text}EOF\n`);
    process.stdout.write(deployed.script);
  }
  return EXIT.ok;
}
