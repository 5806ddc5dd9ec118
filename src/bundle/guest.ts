// SPDX-License-Identifier: MIT
/** A container's machine, as what its process runs. */
import { readFile } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { openImage } from '../image/image.js';
import { UklError } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import type { Image } from '../model/index.js';
import type { RunOptions } from '../options/given.js';
import { type RunningVm, runImage } from '../run/launch.js';
import { type Connected, connectInterfaces, disconnectInterfaces, nameServersIn } from './network.js';
import type { BundlePlan } from './plan.js';
import { sortCovers } from './rootfs.js';

export interface Streams {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
}

export interface ContainerGuest {
  readonly vm: RunningVm;
  /** Gives back what it has of the name space's network. */
  leave(): Promise<void>;
}

/** What an engine has written for the container into a file of the host, to cover one of /etc; nothing if it has not. */
async function written({ covers }: BundlePlan, path: string): Promise<string> {
  const file = covers.find((cover) => cover.kind === 'bind' && cover.path === path);
  return file?.kind === 'bind' ? readFile(file.source, 'utf8').catch(() => '') : '';
}

const hostnameOf = async (plan: BundlePlan): Promise<string> => plan.hostname ?? ((await written(plan, '/etc/hostname')).trim() || plan.name);

/** Without what podman tells each program that it is in: the kernel's command line takes names in capitals alone. */
const withoutMark = ({ container: _, ...env }: Readonly<Record<string, string>>): Record<string, string> => env;

/** An image from elsewhere, with what the container says in place of its own words. */
async function imageOf(path: string, { program }: BundlePlan): Promise<Image> {
  const image = await openImage(path);
  const { run } = image.manifest;
  const { uid, gid, groups } = program.user;
  const user = uid === 0 && gid === 0 && groups.length === 0 ? run.user : { uid, gid, groups: [...groups] };
  return {
    ...image,
    host: undefined,
    manifest: { ...image.manifest, run: { ...run, ...(user === undefined ? {} : { user }), cwd: program.cwd, ports: [] } },
  };
}

/**
 * Boots a container's image in the name space that this process is in. Directories of the host are
 * shared, and its network's interfaces become the guest's.
 *
 * @throws UklError: it could not be started, and nothing is left of it
 */
export async function startGuest(path: string, plan: BundlePlan, streams: Streams, log: Log): Promise<ContainerGuest> {
  const image = await imageOf(path, plan);
  // PID 1 of a small image is its kernel, which can do none of an init's work.
  const bare = image.manifest.init.kind === 'kmain';
  if (bare && plan.program.terminal !== undefined)
    throw new UklError('UKL_CONFIG', `${image.manifest.name} starts without an init, which a terminal needs`, {
      hint: "without -t, or build it with the profile 'server'",
    });
  const { shared } = await sortCovers(plan.covers);
  const { program, network, ports } = plan;
  const connected: Connected | undefined =
    network.kind === 'host' ? undefined : await connectInterfaces(nameServersIn(await written(plan, '/etc/resolv.conf')));
  const leave = async (): Promise<void> => (connected === undefined ? undefined : disconnectInterfaces(connected));
  const options: RunOptions = {
    ...streams,
    log,
    hostname: bare ? undefined : await hostnameOf(plan),
    args: program.args.slice(image.manifest.run.command.length),
    env: bare ? withoutMark(program.env) : program.env,
    memory: plan.memory,
    cpus: plan.cpus,
    volumes: shared.map(({ source, path: place, readonly }) => `${source}:${place}${readonly ? ':ro' : ''}`),
    terminal: program.terminal,
    ...(connected === undefined
      ? { net: 'user', ports }
      : connected.network.length === 0
        ? { net: 'none' }
        : { net: [...connected.net], network: [...connected.network] }),
  };
  try {
    return { vm: await runImage(image, options), leave };
  } catch (error) {
    await leave();
    throw error;
  }
}
