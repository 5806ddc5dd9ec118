// SPDX-License-Identifier: MIT
/** From a target to a machine somewhere else, by that place's own tools. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { resolveTarget } from '../app/target.js';
import { build } from '../build/build.js';
import { containers } from '../containers/index.js';
import { parsePort } from '../devices/ports.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import { silentLog } from '../lib/log.js';
import { shellQuote } from '../lib/shell.js';
import { parseSize } from '../lib/size.js';
import { inPath } from '../lib/which.js';
import type { ContainerName, Image, RunDefaults } from '../model/index.js';
import { openSource } from '../oci/open.js';
import { parseReference } from '../oci/reference.js';
import type { ResolvedConfig, UklConfig } from '../options/config.js';
import type { BuildOptions } from '../options/given.js';
import { FUNCTION_PORT, functionFileOf } from '../runtimes/functions.js';
import { platforms } from './index.js';
import { type Deployment, guarded, type Platform, type PlatformName } from './platform.js';

export interface DeployOptions extends BuildOptions {
  readonly to: PlatformName;
  /** Of the machine there; the target's by default. */
  readonly name?: string | undefined;
  /** What the platform has to be told, as KEY=VALUE on the command line. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
  /** Where the images, the script and its files are; `.ukl/deploy/PLATFORM` of the target's directory by default. */
  readonly directory?: string | undefined;
  /** A machine of that name makes room. */
  readonly replace?: boolean | undefined;
  /** Only say what would be done: nothing is built. */
  readonly dryRun?: boolean | undefined;
  /** Gets the lines that the platform's tools print. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface Deployed extends Deployment {
  readonly platform: PlatformName;
  readonly name: string;
  /** Holds the images, the script and its files. */
  readonly directory: string;
}

/** Names that all of the platforms take. Throws UKL_USAGE. */
function checkName(name: string): string {
  if (/^[a-z]([a-z0-9-]{0,40}[a-z0-9])?$/.test(name)) return name;
  throw new UklError('UKL_USAGE', `no platform takes '${name}' for the name of a machine`, { hint: '--name, with small letters, digits and dashes' });
}

/** The settings with their defaults. Throws UKL_USAGE for one that is unknown or has to be said. */
export function settingsOf(platform: Platform, given: Readonly<Record<string, string>>): Record<string, string> {
  const known = platform.settings.map(({ name }) => name);
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new UklError('UKL_USAGE', `${platform.title} has no setting '${unknown}'`, { hint: `--set ${known.join(', ')}` });
  const missing = platform.settings.filter(({ name, byDefault }) => byDefault === undefined && !given[name]);
  if (missing.length > 0)
    throw new UklError('UKL_USAGE', `${platform.title} has to be told: ${missing.map(({ name, help }) => `${name} (${help})`).join(', ')}`, {
      hint: missing.map(({ name }) => `--set ${name}=...`).join(' '),
    });
  const wrong = platform.settings.find(({ name, takes }) => given[name] && takes?.(given[name]) === false);
  if (wrong !== undefined)
    throw new UklError('UKL_USAGE', `${platform.title} takes no ${wrong.name} '${given[wrong.name]}'`, { hint: `--set ${wrong.name}=... (${wrong.help})` });
  return Object.fromEntries(platform.settings.map(({ name, byDefault = '' }) => [name, given[name] || byDefault]));
}

function checkTools({ tools, title }: Platform, settings: Readonly<Record<string, string>>): void {
  const missing = tools.find(({ command, when }) => when?.(settings) !== false && !inPath(command));
  if (missing === undefined) return;
  throw new UklError('UKL_PACKAGES', `${title} is deployed to by ${missing.command}, which is not here`, {
    hint: `install it (${missing.from}), or --dry-run for the commands`,
  });
}

/** Those that it says, and where a function of it is asked. */
function portsOf(config: ResolvedConfig, built: RunDefaults | undefined): RunDefaults['ports'] {
  const known = built?.ports ?? config.ports.map(parsePort);
  const guest = functionFileOf(config) !== undefined ? FUNCTION_PORT : config.function?.port;
  return guest === undefined ? known : [...known, { address: '127.0.0.1', host: 0, guest, protocol: 'tcp' }];
}

/** Of a machine for a program whose needs depend on its files. */
const USUAL_MEMORY = '512M';

/** Throws UKL_USAGE if something has the machine's place, UKL_COMMAND if the platform's tools cannot tell. */
async function checkPlace({ title }: Platform, name: string, occupied: string | undefined): Promise<void> {
  if (occupied === undefined) return;
  const found = (await exec('sh', ['-eu', '-c', occupied], { hint: `are its tools logged in?` })).trim();
  if (found === '') return;
  throw new UklError('UKL_USAGE', `${title} has a machine there already: ${found.replaceAll(/\s+/g, ' ')}`, {
    hint: `--replace, which takes the place of ${name}, or --name for another one`,
  });
}

/** Of the container image in an archive; undefined without one. */
async function digestIn(archive: string | undefined): Promise<string | undefined> {
  if (archive === undefined) return undefined;
  const source = await openSource(parseReference(`oci-archive:${archive}`));
  return (await source.root()).descriptor.digest;
}

/** Directories are written anew: a tool may take all that is in one. */
async function writeFiles(directory: string, files: Deployment['files']): Promise<void> {
  const names = Object.keys(files);
  for (const top of new Set(names.filter((name) => name.includes('/')).map((name) => name.split('/')[0] ?? '')))
    await rm(join(directory, top), { recursive: true, force: true });
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), text);
  }
}

const SUFFIXES: Readonly<Partial<Record<ContainerName, string>>> = { bzImage: 'bz', disk: 'raw', 'gce-tar': 'tar.gz', uki: 'efi', oci: 'tar' };

/**
 * Builds what a platform imports, and runs the platform's own tools. What is run
 * is a script that stays beside the images.
 *
 * @throws UKL_USAGE, UKL_PACKAGES before any work; UKL_COMMAND if a tool fails
 */
export async function deploy(given: string | UklConfig, options: DeployOptions): Promise<Deployed> {
  const { to, dryRun = false, replace = false, settings = {}, name: wanted, onLine, directory: place, ...buildOptions } = options;
  const log = options.log ?? silentLog;
  const platform = platforms.get(to);
  const target = await resolveTarget(given);
  const name = checkName(wanted ?? target.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-'));
  const chosen = settingsOf(platform, settings);
  if (!dryRun) checkTools(platform, chosen);
  const directory = place ?? resolve(target.directory, '.ukl', 'deploy', to);
  const { config } = target;
  const files = Object.fromEntries(platform.containers.map((container) => [container, join(directory, `${name}.${SUFFIXES[container] ?? container}`)]));
  const planFor = (run?: RunDefaults, digest?: string): Deployment => {
    const parts = {
      ...{ name, files, settings: chosen, replace, cpus: config.cpus },
      memoryMiB: run?.memoryMiB ?? Math.ceil(parseSize(config.memory ?? target.runtime.defaultMemory ?? USUAL_MEMORY) / 2 ** 20),
      ports: portsOf(config, run),
      ...{ env: config.env, digest },
    };
    const plan = platform.plan(parts);
    return { ...plan, script: guarded(parts, plan) };
  };
  const images: Image[] = [];
  // What does not go together is said before any work.
  const intended = planFor();
  if (!dryRun) {
    if (!replace) await checkPlace(platform, name, intended.occupied);
    await mkdir(directory, { recursive: true });
    for (const container of platform.containers) {
      const signed = containers.get(container).kind === 'medium' ? {} : { key: undefined, cert: undefined };
      images.push(
        await build(given, {
          ...buildOptions,
          ...signed,
          container,
          profile: buildOptions.profile ?? platform.profile ?? 'hardware',
          out: files[container],
        }),
      );
    }
  }
  if (dryRun) return { ...intended, platform: to, name, directory };
  const deployment = planFor(images[0]?.manifest.run, await digestIn(files.oci));
  await writeFiles(directory, deployment.files);
  await writeFile(join(directory, 'deploy.sh'), `#!/bin/sh\nset -eu\ncd ${shellQuote(directory)}\n${deployment.script}`, { mode: 0o755 });
  await log.step(`deploy ${name} to ${platform.title}`, async (progress) => {
    await exec('sh', [join(directory, 'deploy.sh')], {
      cwd: directory,
      signal: options.signal,
      log: join(directory, 'deploy.log'),
      onLine: (line) => {
        progress(line.slice(0, 60));
        onLine?.(line);
      },
      hint: `read ${join(directory, 'deploy.log')}; ${join(directory, 'deploy.sh')} has the commands`,
    });
  });
  return { ...deployment, platform: to, name, directory };
}
