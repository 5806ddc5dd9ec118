// SPDX-License-Identifier: MIT
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
  /** What the user said: a bucket, a region, a type of machine. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface Setting {
  readonly name: string;
  readonly help: string;
  /** None: it has to be said. */
  readonly byDefault?: string;
}

/** What is to be done, as the platform's own tools do it. */
export interface Deployment {
  /** A POSIX shell script, run with sh -eu. */
  readonly script: string;
  /** Files that it uses, by name, in the directory where it runs. */
  readonly files: Readonly<Record<string, string>>;
}

export type PlatformName = 'aws' | 'gcp' | 'azure' | 'proxmox' | 'libvirt' | 'pxe';

/** A cloud, a hypervisor, or a network to boot from. */
export interface Platform {
  readonly name: PlatformName;
  readonly title: string;
  /** What it imports. */
  readonly containers: readonly ContainerName[];
  /** Its command line tools. */
  readonly tools: readonly { readonly command: string; readonly from: string }[];
  readonly settings: readonly Setting[];
  plan(parts: DeployParts): Deployment;
}
