// SPDX-License-Identifier: MIT
/** Starts a project's guests, in the order of what they depend on, and ends them. */

import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { currentStatus } from '../detached/client.js';
import { type DetachOptions, detach, type GuestSummary, list, remove, restart, stop } from '../detached/detach.js';
import { guestsRoot, lockOf } from '../detached/record.js';
import { watchGuest } from '../detached/watch.js';
import { formatNetwork } from '../devices/nic.js';
import { UklError } from '../lib/errors.js';
import { hashValue } from '../lib/hash.js';
import { withLock } from '../lib/lock.js';
import { silentLog } from '../lib/log.js';
import type { Context } from '../options/given.js';
import { vmms } from '../vmms/index.js';
import { namesOf, orderOf, type Project, type Service } from './file.js';

/** Addresses of a project: a network of private ones by the project's name, its guests from .2 on. */
const SERVICES_MAX = 250;

/** Neither name has a dot: no two services are called the same. */
export const guestOf = ({ name }: Project, service: string): string => `${name}.${service}`;

function networkOf({ name, services }: Project): Readonly<Record<string, string>> {
  const all = Object.keys(services);
  if (all.length > SERVICES_MAX) throw new UklError('UKL_CONFIG', `a project has at most ${SERVICES_MAX} services, not ${all.length}`);
  const third = Number.parseInt(hashValue(name).slice(0, 2), 16);
  return Object.fromEntries(all.map((service, index) => [service, `10.89.${third}.${index + 2}`]));
}

/** A hardware address by a name, of those that nobody assigns (IEEE 802, 8.4). */
const macOf = (name: string): string => ['02', ...(hashValue(name).slice(0, 10).match(/../g) ?? [])].join(':');

/** What no path begins with names a directory that the project keeps. */
const isNamed = (volume: string): boolean => /^[a-z0-9][\w-]*:/.test(volume);

const volumeDirectory = (project: Project, name: string): string => join(dirname(guestsRoot()), 'volumes', project.name, name);

/** A target, a volume or a disk as the file means it. */
const from = (directory: string, path: string): string => (isAbsolute(path) ? path : join(directory, path));

/** A path of the file's, or a word that names something elsewhere: an image of a registry. */
const targetOf = (directory: string, target: string): string => (existsSync(from(directory, target)) ? from(directory, target) : target);

function optionsOf(project: Project, service: string): DetachOptions & { readonly target: string } {
  const { target, dependsOn: _, health, volumes, disks, attach, ...rest } = project.services[service] as Service;
  const addresses = networkOf(project);
  const mounts = (volumes ?? []).map((volume) => {
    if (!isNamed(volume)) return from(project.directory, volume);
    const [name = '', ...path] = volume.split(':');
    return [volumeDirectory(project, name), ...path].join(':');
  });
  return {
    ...rest,
    target: targetOf(project.directory, target),
    ...(volumes === undefined ? {} : { volumes: mounts }),
    ...(disks === undefined ? {} : { disks: disks.map((disk) => from(project.directory, disk)) }),
    ...(attach === undefined ? {} : { attach: attach.map((disk) => from(project.directory, disk)) }),
    ...(health === undefined ? {} : { health: { test: health.test, intervalSeconds: health.interval, retries: health.retries } }),
    net: ['user'],
    network: [formatNetwork(vmms.get('qemu').userNetwork(0)), `${addresses[service]}/24`],
    // The same again when it is started anew: the others remember it.
    macAddress: ['52:54:00:12:34:56', macOf(`${project.name}/${service}`)],
    hostname: service,
    hosts: Object.entries(addresses).map(([name, address]) => `${name}:${address}`),
  };
}

/** What `up` did with a service. */
export type Done = 'started' | 'restarted' | 'recreated' | 'runs';

export interface UpOptions extends Context {
  /** Starts those that run anew, whatever has changed. */
  readonly recreate?: boolean | undefined;
}

async function bring(project: Project, service: string, existing: GuestSummary | undefined, options: UpOptions): Promise<Done> {
  const { target, ...wanted } = optionsOf(project, service);
  const hash = hashValue([target, wanted]).slice(0, 16);
  const name = guestOf(project, service);
  if (existing !== undefined && !options.recreate && existing.spec.project?.hash === hash) {
    if (existing.status !== undefined && existing.status.state !== 'exited') return 'runs';
    await restart(name, options.signal);
    return 'restarted';
  }
  if (existing !== undefined) await stop(name);
  if (existing !== undefined) await remove(name, true);
  for (const volume of project.services[service]?.volumes ?? []) {
    if (isNamed(volume)) await mkdir(volumeDirectory(project, volume.split(':')[0] ?? ''), { recursive: true });
  }
  await detach(target, { ...wanted, name, project: { name: project.name, service, hash }, log: options.log, signal: options.signal });
  return existing === undefined ? 'started' : 'recreated';
}

type Condition = 'started' | 'healthy' | 'completed';

function conditionFor(project: Project, service: string, dependency: string): Condition {
  const { dependsOn } = project.services[service] as Service;
  if (!Array.isArray(dependsOn)) return dependsOn[dependency] ?? 'started';
  return project.services[dependency]?.health === undefined ? 'started' : 'healthy';
}

/** Settles when a service is as another needs it. Throws UKL_VMM if it never will be. */
async function awaitCondition(project: Project, service: string, condition: Condition, signal: AbortSignal): Promise<void> {
  if (condition === 'started') return;
  const name = guestOf(project, service);
  await watchGuest(
    name,
    async () => {
      const status = await currentStatus(name);
      const met = condition === 'healthy' ? status?.health === 'healthy' : status?.state === 'exited' && status.exitCode === 0;
      if (met) return false;
      if (status?.state === 'exited')
        throw new UklError('UKL_VMM', `'${service}' ended with ${status.exitCode}, and others wait for it`, { hint: `ukl logs ${name}` });
      if (status?.health === 'unhealthy') throw new UklError('UKL_VMM', `'${service}' is unhealthy, and others wait for it`, { hint: `ukl logs ${name}` });
      return true;
    },
    signal,
  );
  signal.throwIfAborted();
}

export interface Brought {
  readonly service: string;
  readonly guest: string;
  readonly done: Done;
}

async function bringAll(project: Project, options: UpOptions): Promise<Brought[]> {
  const log = options.log ?? silentLog;
  const signal = options.signal ?? new AbortController().signal;
  const existing = await membersOf(project.name);
  const results: Brought[] = [];
  for (const service of orderOf(project.services)) {
    for (const dependency of namesOf(project.services[service]?.dependsOn ?? [])) {
      const condition = conditionFor(project, service, dependency);
      await log.step(`wait until ${dependency} is ${condition}`, () => awaitCondition(project, dependency, condition, signal));
    }
    const before = existing.find(({ spec }) => spec.project?.service === service);
    results.push({ service, guest: guestOf(project, service), done: await bring(project, service, before, options) });
  }
  return results;
}

/**
 * Starts what does not run, and what was described otherwise when it was started.
 *
 * @throws UKL_CONFIG, UKL_VMM for a dependency that ends or is unhealthy, and what `detach` throws
 */
export async function up(project: Project, options: UpOptions = {}): Promise<Brought[]> {
  const { log = silentLog, signal } = options;
  const onWait = (): void => log.info(`waiting: another ukl brings ${project.name} up`);
  await mkdir(guestsRoot(), { recursive: true, mode: 0o700 });
  return withLock(lockOf(`project ${project.name}`), () => bringAll(project, options), { onWait, signal });
}

/** The guests of a project, whatever its file says by now. */
export const membersOf = async (project: string): Promise<GuestSummary[]> => (await list()).filter(({ spec }) => spec.project?.name === project);

/**
 * Ends all guests of a project, those that depend on others first, and forgets them if that is wanted.
 *
 * @returns their names
 */
export async function down(project: Project, { seconds, forget }: { readonly seconds?: number | undefined; readonly forget: boolean }): Promise<string[]> {
  const members = await membersOf(project.name);
  const order = orderOf(project.services).reverse();
  const place = ({ spec }: GuestSummary): number => order.indexOf(spec.project?.service ?? '');
  for (const { spec } of members.sort((a, b) => place(a) - place(b))) {
    await stop(spec.name, seconds);
    if (forget) await remove(spec.name, true);
  }
  return members.map(({ spec }) => spec.name);
}

/** Where the directories of a project's named volumes are. */
export const volumesOf = (project: Project): string => resolve(volumeDirectory(project, '.'));
