// SPDX-License-Identifier: MIT
/** A container's root file system, from a directory of this host. */
import type { Stats } from 'node:fs';
import { lstat, readdir, readlink, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { UklError } from '../lib/errors.js';
import type { LayerEntry } from '../oci/layer.js';
import { Tree } from '../oci/tree.js';
import type { Cover } from './plan.js';

type Entry = Exclude<LayerEntry, { type: 'whiteout' | 'opaque' }>;

/** Entries of a tree, as a layer has them; what the n-th file contains is in the n-th of `hosts`. */
class Reader {
  readonly entries: Entry[] = [];
  readonly hosts: string[] = [];
  /** By device and inode: the name under which a file was first seen. */
  readonly #names = new Map<string, string>();

  async read(host: string, path: string, info: Stats): Promise<void> {
    const owned = { path, mode: info.mode & 0o7777, uid: info.uid, gid: info.gid };
    if (info.isSymbolicLink()) this.entries.push({ type: 'symlink', ...owned, target: await readlink(host) });
    else if (info.isDirectory()) {
      this.entries.push({ type: 'directory', ...owned });
      for (const name of (await readdir(host)).sort()) await this.read(join(host, name), posix.join(path, name), await lstat(join(host, name)));
    } else if (info.isFile()) this.#file(host, path, info, owned);
    else if (info.isCharacterDevice()) {
      // The encoding of dev_t (sys/sysmacros.h).
      const { rdev } = info;
      this.entries.push({ type: 'device', ...owned, major: (rdev >> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >> 12) & 0xfff00) });
    } // Sockets, pipes and disks do not travel.
  }

  #file(host: string, path: string, { dev, ino, nlink, size }: Stats, owned: Pick<Entry & { type: 'file' }, 'path' | 'mode' | 'uid' | 'gid'>): void {
    const identity = `${dev}:${ino}`;
    const target = nlink > 1 ? this.#names.get(identity) : undefined;
    if (target !== undefined) {
      this.entries.push({ type: 'hardlink', path, target });
      return;
    }
    this.#names.set(identity, path);
    this.entries.push({ type: 'file', ...owned, size, content: this.hosts.length });
    this.hosts.push(host);
  }
}

async function add(tree: Tree, host: string, path: string, info: Stats): Promise<void> {
  const reader = new Reader();
  await reader.read(host, path, info);
  tree.apply(reader, (content) => reader.hosts[content] ?? '');
}

/** What of the covers is a directory of the host, which the guest shares while it runs. */
export interface Sorted {
  readonly shared: readonly Extract<Cover, { kind: 'bind' }>[];
  readonly packed: readonly (Cover & { readonly info?: Stats })[];
  /** What no guest can have: sockets, pipes and devices. */
  readonly left: readonly string[];
}

/** Throws UKL_VOLUME if a source is not there. */
export async function sortCovers(covers: readonly Cover[]): Promise<Sorted> {
  const shared: Extract<Cover, { kind: 'bind' }>[] = [];
  const packed: (Cover & { info?: Stats })[] = [];
  const left: string[] = [];
  for (const cover of covers) {
    if (cover.kind === 'empty') packed.push(cover);
    else {
      const info = await stat(cover.source).catch((cause: unknown) => {
        throw new UklError('UKL_VOLUME', `${cover.source}, which is to be at ${cover.path}, cannot be had`, { hint: "check the mount's source", cause });
      });
      if (info.isDirectory()) shared.push(cover);
      else if (info.isFile()) packed.push({ ...cover, info });
      else left.push(cover.path);
    }
  }
  return { shared, packed, left };
}

/**
 * Reads a root file system, with files of the host in the places that they cover.
 *
 * @throws UKL_NO_FILE if it is no directory
 */
export async function readRoot(root: string, packed: Sorted['packed']): Promise<Tree> {
  const info = await stat(root).catch(() => undefined);
  if (!info?.isDirectory()) throw new UklError('UKL_NO_FILE', `the container's root file system ${root} is no directory`, { hint: "the bundle's root.path" });
  const tree = new Tree();
  await add(tree, root, '/', info);
  for (const cover of packed) {
    if (cover.kind === 'empty')
      tree.apply(
        {
          entries: [
            { type: 'directory', path: cover.path, mode: cover.mode, uid: 0, gid: 0 },
            { type: 'opaque', path: cover.path },
          ],
        },
        () => '',
      );
    else if (cover.info !== undefined) await add(tree, cover.source, cover.path, cover.info);
  }
  return tree;
}
