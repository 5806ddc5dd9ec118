// SPDX-License-Identifier: MIT
import { shellQuote } from '../lib/shell.js';
import type { ContainerName, RunDefaults } from '../model/index.js';

/** Where an image goes, and as what. All have defaults but those that name somebody's account. */
export interface DeployParts {
  /** Letters, digits and dashes: what all platforms take. */
  readonly name: string;
  /** Of the containers that the platform asks for: their files. */
  readonly files: Readonly<Partial<Record<ContainerName, string>>>;
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly ports: RunDefaults['ports'];
  readonly env: Readonly<Record<string, string>>;
  /** Of the container image that was built, where the platform takes one. */
  readonly digest?: string | undefined;
  /** What the user said: a bucket, a region, a type of machine. */
  readonly settings: Readonly<Record<string, string>>;
  /** Whether a machine of that name makes room. */
  readonly replace: boolean;
}

export interface Setting {
  readonly name: string;
  readonly help: string;
  /** None: it has to be said. */
  readonly byDefault?: string;
  /** Whether a value makes sense; all do without it. */
  takes?(value: string): boolean;
}

/** Of a setting that is a number. */
export const wholeNumber =
  (low: number, high: number) =>
  (value: string): boolean =>
    /^\d{1,9}$/.test(value) && Number(value) >= low && Number(value) <= high;

export const HEALTH: Setting = { name: 'health', help: 'path that answers by HTTP', byDefault: '', takes: (value) => /^\/[\w./~%-]*$/.test(value) };

export interface Tool {
  readonly command: string;
  readonly from: string;
  /** Only with these settings. */
  when?(settings: DeployParts['settings']): boolean;
}

/** What is to be done, as the platform's own tools do it. */
export interface Deployment {
  /** A command that prints what has the machine's place, and nothing if it is free. None: what is there is written over. */
  readonly occupied?: string;
  /** A POSIX shell script, run with sh -eu; in `found` it has what `occupied` printed. */
  readonly script: string;
  /** Files that it uses, by name, in the directory where it runs. */
  readonly files: Readonly<Record<string, string>>;
}

export type PlatformName = 'aws' | 'gcp' | 'azure' | 'proxmox' | 'libvirt' | 'pxe' | 'kubernetes' | 'kubevirt' | 'nomad';

/** A cloud, a hypervisor, a cluster, or a network to boot from. */
export interface Platform {
  readonly name: PlatformName;
  readonly title: string;
  /** What it imports. */
  readonly containers: readonly ContainerName[];
  /** Of its kernel, if that need not know real hardware. */
  readonly profile?: 'server';
  /** Its command line tools. */
  readonly tools: readonly Tool[];
  readonly settings: readonly Setting[];
  plan(parts: DeployParts): Deployment;
}

/** A port that clients of a server reach, and that is closed otherwise. */
export interface OpenPort {
  readonly guest: number;
  readonly protocol: 'tcp' | 'udp';
}

/** Each once, however many ports of this host lead to it. */
export const openPorts = ({ ports }: Pick<DeployParts, 'ports'>): readonly OpenPort[] =>
  [...new Map(ports.map((port) => [`${port.guest}/${port.protocol}`, port])).values()].map(({ guest, protocol }) => ({ guest, protocol }));

const indented = (lines: readonly string[]): string => lines.map((line) => `  ${line}\n`).join('');

/** Lines of a script for a place that something has, and for a free one. */
export function ifFound({ replace }: DeployParts, found: readonly string[], free: readonly string[] = []): string {
  if (!replace) return free.map((line) => `${line}\n`).join('');
  return [
    ...(found.length > 0 ? [`if [ -n "$found" ]; then\n${indented(found)}fi\n`] : []),
    ...(free.length > 0 ? [`if [ -z "$found" ]; then\n${indented(free)}fi\n`] : []),
  ].join('');
}

/** The script with the question before it whether the place is free. */
export function guarded({ name, replace }: Pick<DeployParts, 'name' | 'replace'>, { occupied, script }: Deployment): string {
  if (occupied === undefined) return script;
  const refuse = `[ -z "$found" ] || { echo ${shellQuote(`${name} is there already: `)}"$found" >&2; exit 1; }\n`;
  return `found=$(${occupied})\n${replace ? '' : refuse}${script}`;
}
