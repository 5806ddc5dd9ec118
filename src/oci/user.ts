// SPDX-License-Identifier: MIT
import { readFile } from 'node:fs/promises';
import { UklError } from '../lib/errors.js';
import type { User } from '../model/index.js';
import type { Tree } from './tree.js';

/** The fields of a file like /etc/passwd; none if the image lacks it. */
async function linesOf(tree: Tree, path: string): Promise<string[][]> {
  const node = tree.find(path)?.node;
  if (node?.kind !== 'file' || node.host === undefined) return [];
  const text = await readFile(node.host, 'utf8');
  return text.split('\n').flatMap((line) => (line.includes(':') ? [line.split(':')] : []));
}

/** Linux' ids have 32 bits, and the last means none. */
const ID_MAX = 2 ** 32 - 2;

function idOf(text: string): number | undefined {
  const id = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return id <= ID_MAX ? id : undefined;
}

const unknown = (kind: string, name: string, file: string): UklError =>
  new UklError('UKL_IMAGE', `the image is to run as the ${kind} ${name}, whom its ${file} does not have`, {
    hint: `USER with a number, or a ${file} with the name`,
  });

/**
 * "name", "uid", "name:group", "uid:gid" as an image's configuration has them, by the image's own files. Other
 * groups of the user's are taken if none is named; the first one is among them, as docker has it.
 *
 * @throws UKL_IMAGE for a name that the image does not have
 */
export async function resolveUser(tree: Tree, word: string): Promise<User & { readonly home: string }> {
  const [who = '', group] = word.split(':', 2);
  const accounts = await linesOf(tree, '/etc/passwd');
  const number = who === '' ? 0 : idOf(who);
  const account = accounts.find(([name]) => name === who) ?? accounts.find(([, , id = '']) => number !== undefined && idOf(id) === number);
  const uid = account === undefined ? number : idOf(account[2] ?? '');
  if (uid === undefined) throw unknown('user', who, '/etc/passwd');
  const home = account?.[5] || '/';
  const groups = await linesOf(tree, '/etc/group');
  if (group === undefined || group === '') {
    const others = groups.filter(([, , , members = '']) => account?.[0] !== undefined && members.split(',').includes(account[0]));
    const gid = idOf(account?.[3] ?? '') ?? 0;
    return { uid, gid, groups: [...new Set([gid, ...others.flatMap(([, , other = '']) => idOf(other) ?? [])])], home };
  }
  const named = groups.find(([name]) => name === group);
  const gid = named === undefined ? idOf(group) : idOf(named[2] ?? '');
  if (gid === undefined) throw unknown('group', group, '/etc/group');
  return { uid, gid, groups: [gid], home };
}
