// SPDX-License-Identifier: MIT
/** What boots for a container: an image made of its root file system, or the one that is in it. */
import { mkdir, readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { buildTo } from '../build/build.js';
import { isImage, openImage } from '../image/image.js';
import { UklError } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import type { Image } from '../model/index.js';
import type { FileNode, Tree } from '../oci/tree.js';
import { resolveUser } from '../oci/user.js';
import { configSchema } from '../options/config.js';
import { containerApp } from '../runtimes/container/app.js';
import { container } from '../runtimes/container/container.js';
import type { BundlePlan } from './plan.js';
import type { Place } from './record.js';
import { readRoot, type Sorted } from './rootfs.js';

/** Where urunc reads what annotations say, with values in base64 (urunc.io, "Packaging unikernels"). */
const URUNC_FILE = '/urunc.json';
const URUNC_BINARY = 'com.urunc.unikernel.binary';

async function namedInFile(tree: Tree): Promise<string | undefined> {
  const node = tree.find(URUNC_FILE)?.node;
  if (node?.kind !== 'file' || node.host === undefined) return undefined;
  try {
    const word = (JSON.parse(await readFile(node.host, 'utf8')) as Record<string, unknown>)[URUNC_BINARY];
    return typeof word === 'string' ? Buffer.from(word, 'base64').toString() : undefined;
  } catch (cause) {
    throw new UklError('UKL_IMAGE', `${URUNC_FILE} of the container is no JSON`, { hint: 'have the image pushed again', cause });
  }
}

/** Links are followed within the root file system. */
function fileAt(tree: Tree, path: string): FileNode | undefined {
  const node = tree.find(posix.resolve('/', path))?.node;
  return node?.kind === 'file' ? node : undefined;
}

/** A unikernel of ours that the root file system carries; undefined if it is an ordinary container's. Throws UKL_IMAGE for another's. */
async function unikernelIn(tree: Tree, plan: BundlePlan): Promise<Image | undefined> {
  const path = plan.unikernel ?? (await namedInFile(tree));
  if (path === undefined) return undefined;
  const host = fileAt(tree, path)?.host;
  if (host === undefined || !(await isImage(host))) {
    throw new UklError('UKL_IMAGE', `the container's ${path} is not an image that ukl has built`, {
      hint: 'ukl build TARGET --container oci; for other unikernels, another runtime',
    });
  }
  return openImage(host);
}

/** Throws UKL_CONFIG for what a unikernel, which is complete, cannot be given, and for what it may not have of this host. */
function checkFinished({ manifest: { run, name, container: format } }: Image, { program, ring, ring0 }: BundlePlan, { packed }: Sorted): void {
  const { args } = program;
  if (format !== 'bzImage' && format !== 'elf')
    throw new UklError('UKL_IMAGE', `${name} is a medium (${format}), which has a firmware start it`, { hint: 'ukl build TARGET --container oci' });
  // What is beside it is the image's author's, who could have put links there.
  if (run.disks.length > 0 || run.volumes.length > 0)
    throw new UklError('UKL_CONFIG', `${name} has disks or volumes of its own, which are beside it: a container has none`, {
      hint: "the engine's mounts: -v DIRECTORY:/path",
    });
  if (run.command.some((word, index) => args[index] !== word))
    throw new UklError('UKL_CONFIG', `${name} is a unikernel and starts ${run.command.join(' ')}, not ${args.join(' ')}`, { hint: 'leave --entrypoint out' });
  if (ring !== undefined || ring0.length > 0)
    throw new UklError('UKL_CONFIG', `${name} is a unikernel: its rings were chosen when it was built`, { hint: 'ukl build --ring 3' });
  // Engines bring files of /etc and /run to every container; a unikernel has its own.
  const file = packed.find(({ kind, path }) => kind === 'bind' && !/^\/(etc|run)\//.test(path));
  if (file !== undefined)
    throw new UklError('UKL_CONFIG', `${name} is a unikernel: ${file.path} cannot be put into it`, { hint: 'mount a directory, which it shares' });
}

/**
 * Makes what boots, or finds it.
 *
 * @returns the image's path
 * @throws UklError: the container cannot be a unikernel
 */
export async function prepareImage(place: Place, plan: BundlePlan, sorted: Sorted, log: Log): Promise<string> {
  const tree = await readRoot(plan.root, sorted.packed);
  const finished = await unikernelIn(tree, plan);
  if (finished !== undefined) {
    checkFinished(finished, plan, sorted);
    return finished.path;
  }
  const { program, name } = plan;
  const [entry = '', ...args] = program.args;
  const { home } = await resolveUser(tree, String(program.user.uid));
  await mkdir(place.storage, { recursive: true, mode: 0o700 });
  const target = {
    name,
    directory: place.storage,
    config: configSchema.parse({ image: 'bundle' }),
    runtime: {
      ...container,
      build: async () => ({
        ...(await containerApp(name, tree, {
          command: { entrypoint: [entry], args },
          env: Object.entries(program.env).map(([key, value]) => `${key}=${value}`),
          cwd: program.cwd,
          user: { ...program.user, home },
          volumes: [],
          exposed: [],
        })),
        takesLibc: false,
        tree: place.storage,
      }),
    },
  };
  return (await buildTo(place.image, target, { container: 'elf', ring: plan.ring, ring0: plan.ring0, log })).path;
}
