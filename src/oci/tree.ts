// SPDX-License-Identifier: MIT
/** The root file system that layers make, in memory but for the contents of its files. */
import { posix } from 'node:path';
import { UklError } from '../lib/errors.js';
import type { GuestFile } from '../model/index.js';
import type { Layer, LayerEntry } from './layer.js';

interface Owned {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Two names of one file have one node. */
export interface FileNode extends Owned {
  readonly kind: 'file';
  /** The file on the host; undefined for an empty one. */
  readonly host: string | undefined;
  readonly size: number;
}

export interface DirectoryNode extends Owned {
  readonly kind: 'directory';
  readonly children: Map<string, Node>;
}

export type Node =
  | FileNode
  | DirectoryNode
  | ({ readonly kind: 'symlink'; readonly target: string } & Owned)
  | ({ readonly kind: 'device'; readonly major: number; readonly minor: number } & Owned);

/** MAXSYMLINKS (include/linux/namei.h). */
const LINKS_MAX = 40;

const partsOf = (path: string): string[] => path.split('/').filter((part) => part !== '');

const newDirectory = (owner: Owned = { mode: 0o755, uid: 0, gid: 0 }): DirectoryNode => ({
  kind: 'directory',
  ...{ mode: owner.mode, uid: owner.uid, gid: owner.gid },
  children: new Map(),
});

export class Tree {
  #root = newDirectory();

  /**
   * Where a path leads, links followed as within a chroot; undefined if there is nothing.
   *
   * @throws UKL_IMAGE for links without end
   */
  find(path: string): { readonly path: string; readonly node: Node } | undefined {
    let links = 0;
    const walk = (from: string, parts: readonly string[]): { readonly path: string; readonly node: Node } | undefined => {
      let at = from;
      let node: Node | undefined = this.#at(from);
      for (const [index, part] of parts.entries()) {
        if (node?.kind !== 'directory') return undefined;
        if (part === '.') continue;
        if (part === '..') {
          at = posix.dirname(at);
          node = this.#at(at);
          continue;
        }
        const child = node.children.get(part);
        if (child?.kind === 'symlink') {
          if (++links > LINKS_MAX) throw new UklError('UKL_IMAGE', `the image's ${path} is a link without an end`, { hint: 'build the image again' });
          const { target } = child;
          return walk(target.startsWith('/') ? '/' : at, [...partsOf(target), ...parts.slice(index + 1)]);
        }
        at = posix.join(at, part);
        node = child;
      }
      return node === undefined ? undefined : { path: at, node };
    };
    return walk('/', partsOf(path));
  }

  /** A path without links. */
  #at(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const part of partsOf(path)) node = node?.kind === 'directory' ? node.children.get(part) : undefined;
    return node;
  }

  /** The directory at a path, made with those that lead to it. Throws UKL_IMAGE if something else is there. */
  directory(path: string): DirectoryNode {
    const found = this.find(path);
    if (found?.node.kind === 'directory') return found.node;
    const parent = posix.dirname(path);
    if (found !== undefined || parent === path) throw new UklError('UKL_IMAGE', `the image's ${path} is no directory`, { hint: 'build the image again' });
    const { children } = this.directory(parent);
    const made = newDirectory();
    // A link that leads nowhere gives way.
    children.set(posix.basename(path), made);
    return made;
  }

  /** Puts a layer on top: what it takes away first, then what it has; `hostOf` says where the contents of its files are. Throws UKL_IMAGE. */
  apply({ entries }: Pick<Layer, 'entries'>, hostOf: (content: number) => string): void {
    for (const entry of entries) {
      const parent = entry.type === 'whiteout' ? this.find(posix.dirname(entry.path))?.node : this.find(entry.path)?.node;
      if (parent?.kind !== 'directory') continue;
      if (entry.type === 'whiteout') parent.children.delete(posix.basename(entry.path));
      if (entry.type === 'opaque') parent.children.clear();
    }
    for (const entry of entries) if (entry.type !== 'whiteout' && entry.type !== 'opaque') this.#add(entry, hostOf);
  }

  #add(entry: Exclude<LayerEntry, { type: 'whiteout' | 'opaque' }>, hostOf: (content: number) => string): void {
    if (entry.path === '/') {
      if (entry.type === 'directory') this.#root = { ...newDirectory(entry), children: this.#root.children };
      return;
    }
    const { children } = this.directory(posix.dirname(entry.path));
    const name = posix.basename(entry.path);
    const before = children.get(name);
    children.set(name, this.#nodeOf(entry, hostOf, before));
  }

  #nodeOf(entry: Exclude<LayerEntry, { type: 'whiteout' | 'opaque' }>, hostOf: (content: number) => string, before: Node | undefined): Node {
    switch (entry.type) {
      case 'directory':
        // What lower layers have in it stays.
        return { ...newDirectory(entry), ...(before?.kind === 'directory' ? { children: before.children } : {}) };
      case 'file':
        return { kind: 'file', ...ownerOf(entry), size: entry.size, host: entry.size === 0 ? undefined : hostOf(entry.content) };
      case 'symlink':
        return { kind: 'symlink', ...ownerOf(entry), target: entry.target };
      case 'device':
        return { kind: 'device', ...ownerOf(entry), major: entry.major, minor: entry.minor };
      case 'hardlink': {
        const node = this.find(posix.dirname(entry.target))?.node;
        const linked = node?.kind === 'directory' ? node.children.get(posix.basename(entry.target)) : undefined;
        if (linked === undefined || linked.kind === 'directory') {
          throw new UklError('UKL_IMAGE', `the image's ${entry.path} is a hard link to ${entry.target}, which is not there`, { hint: 'build the image again' });
        }
        return linked;
      }
    }
  }

  /** All of it, parents first. A file's second name is a hard link to its first. */
  files(): GuestFile[] {
    const files: GuestFile[] = [];
    const first = new Map<Node, string>();
    const visit = ({ children }: DirectoryNode, at: string): void => {
      for (const [name, node] of [...children].sort(([a], [b]) => (a < b ? -1 : 1))) {
        const guest = posix.join(at, name);
        const owner = { uid: node.uid, gid: node.gid };
        if (node.kind === 'directory') {
          files.push({ guest, kind: 'directory', mode: node.mode, ...owner });
          visit(node, guest);
        } else if (node.kind === 'symlink') files.push({ guest, kind: 'symlink', target: node.target, ...owner });
        else if (node.kind === 'device') files.push({ guest, kind: 'device', mode: node.mode, major: node.major, minor: node.minor, ...owner });
        else {
          const target = first.get(node);
          if (target === undefined) first.set(node, guest);
          if (target !== undefined) files.push({ guest, kind: 'hardlink', target });
          else if (node.host === undefined) files.push({ guest, kind: 'data', data: Buffer.alloc(0), mode: node.mode, ...owner });
          else files.push({ guest, kind: 'file', host: node.host, mode: node.mode, ...owner });
        }
      }
    };
    files.push({ guest: '/', kind: 'directory', mode: this.#root.mode, uid: this.#root.uid, gid: this.#root.gid });
    visit(this.#root, '/');
    return files;
  }
}

const ownerOf = ({ mode, uid, gid }: Owned): Owned => ({ mode, uid, gid });
