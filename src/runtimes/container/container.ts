// SPDX-License-Identifier: MIT
/** Container images: an ordinary one becomes a unikernel, its files as they are. */
import { constants } from 'node:os';
import { posix } from 'node:path';
import { UklError } from '../../lib/errors.js';
import type { AppProcess } from '../../model/index.js';
import { getLayers, readContainer, rootOf } from '../../oci/container.js';
import { openSource } from '../../oci/open.js';
import { commandOf, findStart } from '../../oci/process.js';
import { parseReference } from '../../oci/reference.js';
import { unikernelPath } from '../../oci/unikernel.js';
import { resolveUser } from '../../oci/user.js';
import type { BuiltApp, Runtime, RuntimeContext } from '../runtime.js';

/** What docker gives a process whose image does not say. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function variablesOf(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(words.filter((word) => word.includes('=')).map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]));
}

/** "SIGQUIT", "QUIT" or "3", by its name; undefined for SIGTERM, which is usual. */
function stopSignalOf(word: string | null | undefined): string | undefined {
  if (word === null || word === undefined || word === '') return undefined;
  const name = /^\d+$/.test(word) ? Object.entries(constants.signals).find(([, number]) => number === Number(word))?.[0] : word.replace(/^(SIG)?/, 'SIG');
  if (name === undefined || !(name in constants.signals))
    throw new UklError('UKL_IMAGE', `the image is to be stopped by ${word}, which is no signal`, { hint: 'STOPSIGNAL SIGTERM' });
  return name === 'SIGTERM' ? undefined : name;
}

async function build({ name, directory, config, words, entrypoint, log, signal }: RuntimeContext): Promise<BuiltApp> {
  const context = { log, signal };
  const source = await openSource(parseReference(config.image ?? '', directory), signal);
  const image = await readContainer(source);
  if (unikernelPath(image) !== undefined) {
    throw new UklError('UKL_USAGE', `${source.name} is a unikernel already`, { hint: `ukl run ${config.image}` });
  }
  const layers = await getLayers(image, context);
  const tree = rootOf(layers);
  const { config: process } = image.config;
  const cwd = process.WorkingDir || '/';
  // docker makes these, if the layers have not.
  for (const path of [cwd, ...process.Volumes]) tree.directory(posix.resolve('/', path));
  const { home, ...user } = await resolveUser(tree, process.User ?? '');
  const env = { PATH, HOME: home, HOSTNAME: name, ...variablesOf(process.Env) };
  const start = await findStart(tree, commandOf(image.config, { entrypoint, words }), env.PATH, cwd);
  const dropped = layers.flatMap((layer) => layer.dropped);
  if (dropped.length > 0)
    log.warn(`an initramfs does not hold ${dropped.slice(0, 5).join(', ')}${dropped.length > 5 ? ` and ${dropped.length - 5} more` : ''}`);
  const said: AppProcess = { args: start.args, env, cwd, user, stopSignal: stopSignalOf(process.StopSignal), exposed: process.ExposedPorts };
  return {
    name,
    host: start.program.host,
    guest: start.program.path,
    command: start.command,
    starts: start.starts,
    // Our own files are not the image's to bring, and init mounts over /dev.
    files: tree.files().filter(({ guest }) => !/^\/(\.ukl|dev|proc|sys)\//.test(`${guest}/`)),
    wholeRoot: true,
    process: said,
    takesLibc: false,
    tree: directory,
  };
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
