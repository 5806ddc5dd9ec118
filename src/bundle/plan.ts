// SPDX-License-Identifier: MIT
/** From a container's description to what its machine is. */
import { resolve } from 'node:path';
import type { Terminal } from '../guest/spec.js';
import { UklError } from '../lib/errors.js';
import type { Ring, User } from '../model/index.js';
import { variablesOf } from '../runtimes/container/app.js';
import { wishesOf } from './annotations.js';
import type { BundleConfig, BundleProcess } from './spec.js';

/** Where the container's process is to be: where this one is, in a name space of its own, or in one that is there. */
export type NetworkPlace = { readonly kind: 'host' } | { readonly kind: 'new' } | { readonly kind: 'path'; readonly path: string };

/** Something of the host's, or an empty directory, that covers what the root file system has at a path. */
export type Cover =
  | { readonly kind: 'bind'; readonly source: string; readonly path: string; readonly readonly: boolean }
  | { readonly kind: 'empty'; readonly path: string; readonly mode: number };

export interface Program {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly user: User;
  readonly terminal: Terminal | undefined;
}

export interface BundlePlan {
  /** The root file system on this host. */
  readonly root: string;
  /** Its own, or else the short form of the container's. */
  readonly name: string;
  /** undefined in a pod, whose name the engine writes into a file. */
  readonly hostname: string | undefined;
  readonly program: Program;
  readonly ring: Ring | undefined;
  readonly ring0: readonly string[];
  /** As --memory has it. */
  readonly memory: string | undefined;
  readonly cpus: number | undefined;
  readonly ports: readonly string[];
  /** Where in the root file system a unikernel is, if an annotation says so. */
  readonly unikernel: string | undefined;
  readonly covers: readonly Cover[];
  readonly network: NetworkPlace;
  /** As the specification has it; undefined for the group that the engine is in. */
  readonly cgroup: string | undefined;
  /** It only stands for a pod's name spaces, and runs nothing. */
  readonly sandbox: boolean;
}

/** A terminal whose size nobody says. */
const USUAL: Terminal = { rows: 24, columns: 80 };

const CPUS_MAX = 64;

/** The guest has these itself. */
const OWN = /^\/(dev|proc|sys)(\/|$)/;

/** Annotations by which engines for Kubernetes mark what stands for a pod. */
const SANDBOX = { 'io.kubernetes.cri.container-type': 'sandbox', 'io.kubernetes.cri-o.ContainerType': 'sandbox' } as const;

/** What podman starts in a pod's infra container, which it does not mark: a program that waits to be ended (catatonit(1)). */
const PAUSE = ['/catatonit', '-P'];

/** urunc's name for where a unikernel is. */
const URUNC = 'com.urunc.unikernel.binary';

/** What a process of the specification's is to a guest. */
export function programOf({ args, env, cwd, user, terminal, consoleSize }: BundleProcess): Program {
  const size = consoleSize === undefined || consoleSize.height === 0 ? USUAL : { rows: consoleSize.height, columns: consoleSize.width };
  return {
    args,
    env: variablesOf(env),
    cwd,
    user: { uid: user.uid, gid: user.gid, groups: user.additionalGids.filter((gid) => gid !== user.gid) },
    terminal: terminal ? size : undefined,
  };
}

function coversOf({ mounts }: BundleConfig, bundle: string): Cover[] {
  return mounts.flatMap(({ destination, type = '', source = '', options }): Cover[] => {
    const path = resolve('/', destination);
    if (OWN.test(path) || path === '/') return [];
    if (type === 'bind' || options.some((word) => word === 'bind' || word === 'rbind'))
      return [{ kind: 'bind', source: resolve(bundle, source), path, readonly: options.includes('ro') }];
    if (type !== 'tmpfs') return [];
    const mode = options.find((word) => /^mode=[0-7]{1,4}$/.test(word));
    return [{ kind: 'empty', path, mode: mode === undefined ? 0o1777 : Number.parseInt(mode.slice(5), 8) }];
  });
}

function networkOf({ linux }: BundleConfig): NetworkPlace {
  const space = linux.namespaces.find(({ type }) => type === 'network');
  if (space === undefined) return { kind: 'host' };
  return space.path === undefined || space.path === '' ? { kind: 'new' } : { kind: 'path', path: space.path };
}

/** Of processors' time, as many processors as could use it up. */
function cpusFor({ linux }: BundleConfig): number | undefined {
  const { quota = -1, period = 100_000 } = linux.resources.cpu ?? {};
  return quota > 0 && period > 0 ? Math.min(CPUS_MAX, Math.max(1, Math.ceil(quota / period))) : undefined;
}

function memoryFor({ linux }: BundleConfig): string | undefined {
  const limit = linux.resources.memory?.limit ?? -1;
  return limit > 0 && limit < Number.MAX_SAFE_INTEGER ? `${Math.floor(limit / 1024)}K` : undefined;
}

function isSandbox({ annotations, process: { args } }: BundleConfig): boolean {
  const marked = Object.entries(SANDBOX).some(([name, value]) => annotations[name] === value);
  return marked || (args.length === PAUSE.length && PAUSE.every((word, index) => args[index] === word));
}

/** Throws UKL_CONFIG for an annotation of ours that is wrong, UKL_USAGE for two wishes that exclude each other. */
export function planOf(config: BundleConfig, bundle: string, id: string): BundlePlan {
  const wishes = wishesOf(config.annotations);
  const network = networkOf(config);
  const ports = wishes['ukl.publish'] ?? [];
  const hostname = config.hostname === '' ? undefined : config.hostname;
  if (ports.length > 0 && network.kind !== 'host')
    throw new UklError('UKL_CONFIG', "ukl.publish is for containers in the host's network: this one is in another", {
      hint: "the engine's own ports: -p 8080:80",
    });
  return {
    root: resolve(bundle, config.root.path),
    name: hostname ?? id.slice(0, 12),
    hostname,
    program: programOf(config.process),
    ring: wishes['ukl.ring'],
    ring0: wishes['ukl.ring0'] ?? [],
    memory: wishes['ukl.memory'] ?? memoryFor(config),
    cpus: wishes['ukl.cpus'] ?? cpusFor(config),
    ports,
    unikernel: wishes['ukl.image'] ?? config.annotations[URUNC],
    covers: coversOf(config, bundle),
    network,
    cgroup: config.linux.cgroupsPath,
    sandbox: isSandbox(config),
  };
}
