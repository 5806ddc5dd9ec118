// SPDX-License-Identifier: MIT
/** File systems that the guest finds by itself, as a configuration names them, and what an image has to carry for them. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { UklError } from '../lib/errors.js';
import type { AttachedDisk, Data, DataType, Requirement } from '../model/index.js';
import { DISK_BUSES } from '../model/machine.js';
import { parseRemote } from './remote.js';

const PATTERN = /^(LABEL=[^:]{1,255}|UUID=[0-9a-fA-F-]{36}|\/dev\/[^:]+):(\/[^:]+)(?::(ext4|xfs|btrfs))?$/;

/** Labels are as long as each file system has room for. */
const LABEL_MAX: Readonly<Record<DataType, number>> = { ext4: 16, xfs: 12, btrfs: 255 };

/** The parts of "SOURCE:/path[:TYPE]". Throws UKL_CONFIG. */
export function parseData(text: string): Data {
  const remote = parseRemote(text);
  if (remote !== undefined) return remote;
  const match = PATTERN.exec(text);
  if (match === null)
    throw new UklError('UKL_CONFIG', `expected data as SOURCE:/path[:TYPE], got '${text}'`, {
      hint: "'LABEL=db:/var/lib/db:ext4': LABEL=, UUID= or /dev/..., and ext4, xfs or btrfs to make it on first use; or '192.0.2.1:/export:/data' (NFS), '//192.0.2.1/share:/data' (CIFS), 'TAG:/data:9p', 'TAG:/data:virtiofs'",
    });
  const [, source = '', path = '', type] = match;
  const make = type as DataType | undefined;
  if (make !== undefined && source.startsWith('UUID='))
    throw new UklError('UKL_CONFIG', `${source} is a file system that exists: it cannot be made`, { hint: 'LABEL=' });
  if (make !== undefined && source.startsWith('LABEL=') && Buffer.byteLength(source) - 6 > LABEL_MAX[make])
    throw new UklError('UKL_CONFIG', `a label of ${make} has at most ${LABEL_MAX[make]} bytes: ${source}`, { hint: 'a shorter label' });
  return { source, path, ...(make === undefined ? {} : { make }) };
}

const MAKERS: Readonly<Record<DataType, Requirement & { readonly file: string }>> = {
  ext4: { package: 'e2fsprogs', why: 'makes and checks ext4', file: '/sbin/mkfs.ext4' },
  xfs: { package: 'xfsprogs', why: 'makes xfs', file: '/sbin/mkfs.xfs' },
  btrfs: { package: 'btrfs-progs', why: 'makes btrfs', file: '/sbin/mkfs.btrfs' },
};

const makersOf = (data: readonly Data[]): (Requirement & { readonly file: string })[] =>
  [...new Set(data.flatMap(({ make }) => make ?? []))].map((type) => MAKERS[type]);

const onDisks = (data: readonly Data[]): readonly Data[] => data.filter(({ remote }) => remote === undefined);

/** Programs of the host that images with data carry. */
export const dataRequirements = (data: readonly Data[]): readonly Requirement[] => (onDisks(data).length === 0 ? [] : [MAKERS.ext4, ...makersOf(data)]);

/** These programs as files of an image, "host:guest": what checks, and what makes. */
export const dataFiles = (data: readonly Data[]): readonly string[] =>
  onDisks(data).length === 0 ? [] : ['/sbin/e2fsck:/sbin/e2fsck', '/etc/mke2fs.conf:/etc/mke2fs.conf', ...makersOf(data).map(({ file }) => `${file}:${file}`)];

/** "FILE[:BUS]": a raw disk of this host. Throws UKL_DISK if it does not exist. */
export function parseAttached(text: string): AttachedDisk {
  const colon = text.lastIndexOf(':');
  const word = text.slice(colon + 1);
  const bus = DISK_BUSES.find((name) => name === word);
  const file = resolve(bus === undefined || colon < 1 ? text : text.slice(0, colon));
  if (!existsSync(file)) throw new UklError('UKL_DISK', `${file} does not exist`, { hint: `truncate -s 1G ${file}` });
  return { file, bus: bus ?? 'virtio' };
}
