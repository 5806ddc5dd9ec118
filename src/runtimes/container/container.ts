// SPDX-License-Identifier: MIT
/** Container images: an ordinary one becomes a unikernel, its files as they are. */
import { constants } from 'node:os';
import { UklError } from '../../lib/errors.js';
import { getLayers, readContainer, rootOf } from '../../oci/container.js';
import { openSource } from '../../oci/open.js';
import { commandOf } from '../../oci/process.js';
import { parseReference } from '../../oci/reference.js';
import { unikernelPath } from '../../oci/unikernel.js';
import { resolveUser } from '../../oci/user.js';
import type { BuiltApp, Runtime, RuntimeContext } from '../runtime.js';
import { containerApp } from './app.js';

/** "SIGQUIT", "QUIT" or "3", by its name; undefined for SIGTERM, which is usual. */
function stopSignalOf(word: string): string | undefined {
  if (word === '') return undefined;
  const name = /^\d+$/.test(word) ? Object.entries(constants.signals).find(([, number]) => number === Number(word))?.[0] : word.replace(/^(SIG)?/, 'SIG');
  if (name !== undefined && name in constants.signals) return name === 'SIGTERM' ? undefined : name;
  throw new UklError('UKL_IMAGE', `the image is to be stopped by ${word}, which is no signal of Linux`, { hint: 'STOPSIGNAL SIGTERM' });
}

async function build({ name, directory, config, words, entrypoint, log, signal }: RuntimeContext): Promise<BuiltApp> {
  const source = await openSource(parseReference(config.image ?? '', directory), signal);
  const image = await readContainer(source);
  if (unikernelPath(image) !== undefined) throw new UklError('UKL_USAGE', `${source.name} is a unikernel already`, { hint: `ukl run ${config.image}` });
  const layers = await getLayers(image, { log, signal });
  const dropped = layers.flatMap((layer) => layer.dropped);
  if (dropped.length > 0)
    log.warn(`an initramfs does not hold ${dropped.slice(0, 5).join(', ')}${dropped.length > 5 ? ` and ${dropped.length - 5} more` : ''}`);
  const tree = rootOf(layers);
  const { config: said } = image.config;
  const app = await containerApp(name, tree, {
    command: commandOf(image.config, { entrypoint, words }),
    env: said.Env,
    cwd: said.WorkingDir || '/',
    user: await resolveUser(tree, said.User ?? ''),
    volumes: said.Volumes,
    stopSignal: stopSignalOf(said.StopSignal ?? ''),
    exposed: said.ExposedPorts,
  });
  return { ...app, takesLibc: false, tree: directory };
}

export const container: Runtime = {
  name: 'container',
  title: 'container images',
  defaultMemory: undefined,
  dev: false,
  requirements: () => [],
  takes: ({ image }) => image !== undefined,
  fromFile: async () => undefined,
  fromDirectory: async () => undefined,
  build,
};
