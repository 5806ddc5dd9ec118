// SPDX-License-Identifier: MIT
/** What `docker login` and `podman login` keep: containers-auth.json(5), and docker's config.json. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { UklError } from '../lib/errors.js';

const fileSchema = z.object({ auths: z.record(z.string(), z.object({ auth: z.string().optional() })).optional() });

/** Where they are, as podman looks for them. */
function files(): string[] {
  const { REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, DOCKER_CONFIG, XDG_CONFIG_HOME } = process.env;
  if (REGISTRY_AUTH_FILE) return [REGISTRY_AUTH_FILE];
  return [
    join(XDG_RUNTIME_DIR || `/run/user/${process.getuid?.()}`, 'containers/auth.json'),
    `/run/containers/${process.getuid?.()}/auth.json`,
    join(XDG_CONFIG_HOME || join(homedir(), '.config'), 'containers/auth.json'),
    join(DOCKER_CONFIG || join(homedir(), '.docker'), 'config.json'),
  ];
}

/** "https://index.docker.io/v1/" is what docker calls its own registry. */
const keyOf = (name: string): string => (/index\.docker\.io/.test(name) ? 'docker.io' : name.replace(/^https?:\/\//, '').replace(/\/(v[12]\/?)?$/, ''));

/**
 * "user:password" in base64 for a repository, of the most exact of the names that a file has for it.
 *
 * @throws UKL_CONFIG for a file that is damaged
 */
export async function findCredentials(host: string, repository: string): Promise<string | undefined> {
  const wanted = `${host}/${repository}`;
  for (const file of files()) {
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    let auths: Readonly<Record<string, { readonly auth?: string | undefined }>>;
    try {
      auths = fileSchema.parse(JSON.parse(text)).auths ?? {};
    } catch (cause) {
      throw new UklError('UKL_CONFIG', `${file} is not what docker login or podman login writes`, { cause, hint: `mend or remove ${file}` });
    }
    const [best] = Object.entries(auths)
      .map(([name, { auth }]) => ({ key: keyOf(name), auth }))
      .filter(({ key, auth }) => auth !== undefined && auth !== '' && (wanted === key || wanted.startsWith(`${key}/`)))
      .sort((a, b) => b.key.length - a.key.length);
    if (best?.auth !== undefined) return best.auth;
  }
  return undefined;
}
