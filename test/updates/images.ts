// SPDX-License-Identifier: MIT
/** Images of the server of server.c, in versions that do well and others that do not. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { build, type UklConfig } from '../../src/sdk/index.js';

export type Behaviour = 'serves' | 'says' | 'silent' | 'exits' | 'panics' | 'hangs';
export type Signed = { readonly key: string; readonly cert: string } | undefined;

export const configOf = (version: string, behaviour: Behaviour, signer?: Signed): UklConfig => ({
  name: 'web',
  sources: [join(projectRoot, 'test/updates/server.c')],
  env: { VERSION: version, BEHAVIOUR: behaviour },
  updates: behaviour === 'says' ? 'says:60' : behaviour === 'silent' ? 'says:3' : 'runs:3',
  watchdog: 10,
  // Both are tried, with whatever else is.
  root: signer === undefined ? 'memory' : 'disk',
});

/** A disk with two slots, the first of which has the image. */
export async function makeDisk(out: string, config: UklConfig, { log, signer }: { readonly log?: Log; readonly signer?: Signed } = {}): Promise<void> {
  await build(config, { log, container: 'disk', out, ...signer });
}

/** What such a machine is given. */
export async function makeUpdate(out: string, config: UklConfig, { log, signer }: { readonly log?: Log; readonly signer?: Signed } = {}): Promise<Buffer> {
  await build(config, { log, container: 'update', out, ...signer });
  return readFile(out);
}
