// SPDX-License-Identifier: MIT
import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { isElf } from '../elf/elf.js';
import { UklError } from '../lib/errors.js';
import type { GuestFile } from '../model/index.js';
import { resolveLibraries } from './libraries.js';

/**
 * A host file under its own path in the guest. A symbolic link keeps its name
 * and is packed with what it leads to: libfoo.so.1 -> libfoo.so.1.2.3.
 */
export async function packSame(path: string): Promise<GuestFile[]> {
  const real = await realpath(path);
  const info = await stat(real);
  const file: GuestFile = { guest: real, kind: 'file', host: real, mode: info.mode & 0o7777 };
  return (await lstat(path)).isSymbolicLink() ? [file, { guest: path, kind: 'symlink', target: real }] : [file];
}

/** Where the dynamic loader looks without a cache (ld.so(8), for Debian's x86-64). */
const DEFAULT_PATHS: readonly string[] = ['/lib/x86_64-linux-gnu', '/usr/lib/x86_64-linux-gnu', '/lib', '/usr/lib', '/lib64', '/usr/lib64'];

const inDefaultPath = (path: string): boolean => DEFAULT_PATHS.includes(dirname(path));

/** A guest has no ld.so.cache: what only the host's led to is linked to where the loader looks. */
const toDefaultPath = (path: string): GuestFile => ({ guest: join('/usr/lib/x86_64-linux-gnu', basename(path)), kind: 'symlink', target: path });

/** An ELF's shared libraries, with their loader. */
export async function packLibraries(elf: string): Promise<GuestFile[]> {
  const libraries = await resolveLibraries(elf);
  return [...(await Promise.all(libraries.map(packSame))).flat(), ...libraries.filter((path) => !inDefaultPath(path)).map(toDefaultPath)];
}

async function packTree(host: string, guest: string, elves: string[]): Promise<GuestFile[]> {
  const info = await lstat(host);
  const owner = { uid: info.uid, gid: info.gid };
  if (info.isSymbolicLink()) return [{ guest, kind: 'symlink', target: await readlink(host) }];
  if (info.isDirectory()) {
    const names = (await readdir(host)).sort();
    const children = [];
    for (const name of names) children.push(...(await packTree(join(host, name), join(guest, name), elves)));
    return [{ guest, kind: 'directory', mode: info.mode & 0o7777, ...owner }, ...children];
  }
  if (!info.isFile()) return []; // sockets and devices do not travel
  if (info.size > 4 && (await isElf(host))) elves.push(host);
  return [{ guest, kind: 'file', host, mode: info.mode & 0o7777, ...owner }];
}

/**
 * "--file host[:guest]": a file or a whole directory. Without a guest path it
 * keeps the host's. Programs and libraries in it bring their libraries along.
 *
 * @throws UKL_NO_FILE, UKL_USAGE
 */
export async function packFile(spec: string, relativeTo: string): Promise<GuestFile[]> {
  const colon = spec.lastIndexOf(':');
  const host = resolve(relativeTo, colon > 0 ? spec.slice(0, colon) : spec);
  const guest = colon > 0 ? spec.slice(colon + 1) : host;
  if (!guest.startsWith('/')) {
    throw new UklError('UKL_USAGE', `--file ${spec}: the guest's path must be absolute, got '${guest}'`);
  }
  let target = host;
  try {
    const link = (await lstat(host)).isSymbolicLink();
    // What the user named is meant, not a link that may lead nowhere in the guest.
    if (link) target = await realpath(host);
  } catch (error) {
    throw new UklError('UKL_NO_FILE', `--file ${spec}: ${host} does not exist`, { cause: error });
  }
  const elves: string[] = [];
  const files = await packTree(target, guest, elves);
  for (const elf of elves) {
    try {
      files.push(...(await packLibraries(elf)));
    } catch (error) {
      // A tree may hold objects for other machines or plugins of optional features.
      if (files.length === 1) throw error;
    }
  }
  return files;
}
