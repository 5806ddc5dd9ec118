// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import { hashFileOnce } from '../lib/hash.js';
import { storeRoot } from '../lib/paths.js';
import { fromStore, type StoreContext } from '../store/store.js';

/**
 * SHA-256 of a source tarball that a Debian package installed, as apt verified
 * it: dpkg still knows each file's checksum.
 *
 * @throws UKL_SOURCE if it is missing or was changed
 */
export async function hashDebianTarball(packageName: string, tarball: string): Promise<string> {
  if (!existsSync(tarball)) {
    throw new UklError('UKL_SOURCE', `${tarball} does not exist`, { hint: 'ukl doctor' });
  }
  return hashFileOnce(tarball, async () => {
    const complaints = await exec('dpkg', ['--verify', packageName], { errorCode: 'UKL_SOURCE' }).catch((error: unknown) =>
      error instanceof UklError ? (error.details ?? error.message) : String(error),
    );
    if (complaints.includes(tarball)) {
      throw new UklError('UKL_SOURCE', `${tarball} is not the file that Debian's package installed`, {
        details: complaints,
        hint: `sudo apt-get install --reinstall ${packageName}`,
      });
    }
  });
}

const SOURCES = '/etc/apt/sources.list.d';

/** What apt calls binary packages, and source packages. */
type PackageKind = 'deb' | 'deb-src';

/** This machine's own package sources, for one kind of packages. */
async function sourceLists(kind: PackageKind): Promise<Record<string, string>> {
  const lists: Record<string, string> = {};
  for (const name of existsSync(SOURCES) ? (await readdir(SOURCES)).sort() : []) {
    const text = await readFile(join(SOURCES, name), 'utf8');
    if (name.endsWith('.sources')) lists[name] = text.replaceAll(/^Types:.*$/gm, `Types: ${kind}`);
    else if (name.endsWith('.list')) lists[name] = text.replaceAll(/^deb /gm, `${kind} `);
  }
  const main = await readFile('/etc/apt/sources.list', 'utf8').catch(() => '');
  if (/^deb /m.test(main)) lists['main.list'] = main.replaceAll(/^deb /gm, `${kind} `);
  return lists;
}

/** apt with lists of its own: nothing of the system is changed, and nobody needs to be root. */
async function ownApt(
  kind: PackageKind,
): Promise<(command: 'apt-get' | 'apt-cache', args: readonly string[], cwd: string, log: string, signal: AbortSignal | undefined) => Promise<string>> {
  const root = join(storeRoot(), 'apt', kind);
  await rm(join(root, 'sources'), { recursive: true, force: true });
  for (const directory of ['sources', 'lists/partial', 'cache/archives/partial']) await mkdir(join(root, directory), { recursive: true });
  for (const [name, text] of Object.entries(await sourceLists(kind))) await writeFile(join(root, 'sources', name), text);
  const options = [
    'Dir::Etc::sourcelist=/dev/null',
    `Dir::Etc::sourceparts=${root}/sources`,
    `Dir::State::lists=${root}/lists`,
    `Dir::Cache=${root}/cache`,
    'APT::Sandbox::User=root',
    'Acquire::Retries=3',
  ];
  return (command, args, cwd, log, signal) =>
    exec(command, [...options.flatMap((option) => ['-o', option]), ...args], {
      cwd,
      log,
      signal,
      errorCode: 'UKL_SOURCE',
      hint: 'is the network up? ukl doctor',
    });
}

/**
 * A Debian source package of the version that this machine's release has,
 * unpacked with Debian's patches. Never written to.
 *
 * @throws UKL_SOURCE
 */
export async function getDebianSource(name: string, context: StoreContext): Promise<{ readonly path: string; readonly version: string }> {
  const path = await fromStore(
    {
      kind: `debian-${name}`,
      title: `fetch the source of Debian's ${name}`,
      key: { name, release: await readFile('/etc/debian_version', 'utf8').catch(() => '') },
      make: async ({ output, work, log }) => {
        const apt = await ownApt('deb-src');
        await rm(work, { recursive: true, force: true });
        await mkdir(work, { recursive: true });
        await apt('apt-get', ['update'], work, log, context.signal);
        const versions = [...(await apt('apt-cache', ['showsrc', '--only-source', name], work, log, context.signal)).matchAll(/^Version: (.*)$/gm)].map(
          (match) => match[1] ?? '',
        );
        if (versions.length === 0) throw new UklError('UKL_SOURCE', `Debian has no source package ${name}`, { log });
        // The newest that the archive has: its lists may be ahead of its files.
        let failure: unknown;
        for (const version of versions) {
          failure = await apt('apt-get', ['source', `${name}=${version}`], work, log, context.signal).then(
            () => undefined,
            (error: unknown) => error,
          );
          if (failure === undefined) break;
          context.signal?.throwIfAborted();
        }
        if (failure !== undefined) throw failure;
        const entries = await readdir(work, { withFileTypes: true });
        const tree = entries.find((entry) => entry.isDirectory());
        const description = entries.find((entry) => entry.name.endsWith('.dsc'));
        if (!tree || !description) throw new UklError('UKL_SOURCE', `Debian's ${name} did not unpack`, { log });
        const version = /^Version: (.*)$/m.exec(await readFile(join(work, description.name), 'utf8'))?.[1] ?? '';
        await rename(join(work, tree.name), join(output, 'source'));
        await writeFile(join(output, 'version'), version);
      },
    },
    context,
  );
  return { path: join(path, 'source'), version: await readFile(join(path, 'version'), 'utf8') };
}

/**
 * The files of a Debian package, without installing it, in the version of a
 * package that is installed and was built with it; the newest one, if the
 * archive does not have that any more. apt verifies what it downloads.
 *
 * @throws UKL_SOURCE
 */
export async function getDebianPackage(name: string, sibling: string, context: StoreContext): Promise<{ readonly path: string; readonly version: string }> {
  const wanted = (await exec('dpkg-query', ['-W', '-f', '${Version}', sibling], { errorCode: 'UKL_SOURCE', hint: 'ukl doctor' })).trim();
  const path = await fromStore(
    {
      kind: `package-${name}`,
      title: `fetch Debian's ${name}`,
      key: { name, version: wanted },
      make: async ({ output, work, log }) => {
        const apt = await ownApt('deb');
        await rm(work, { recursive: true, force: true });
        await mkdir(work, { recursive: true });
        await apt('apt-get', ['update'], work, log, context.signal);
        await apt('apt-get', ['download', `${name}=${wanted}`], work, log, context.signal).catch((error: unknown) => {
          context.signal?.throwIfAborted();
          if (!(error instanceof UklError)) throw error;
          return apt('apt-get', ['download', name], work, log, context.signal);
        });
        const [file] = (await readdir(work)).filter((entry) => entry.endsWith('.deb'));
        if (file === undefined) throw new UklError('UKL_SOURCE', `Debian's ${name} was not downloaded`, { log });
        await exec('dpkg-deb', ['-x', file, join(output, 'files')], { cwd: work, log, errorCode: 'UKL_SOURCE' });
        await writeFile(join(output, 'version'), (await exec('dpkg-deb', ['-f', file, 'Version'], { cwd: work })).trim());
      },
    },
    context,
  );
  return { path: join(path, 'files'), version: await readFile(join(path, 'version'), 'utf8') };
}
