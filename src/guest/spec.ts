// SPDX-License-Identifier: MIT
import { UklError } from '../lib/errors.js';
import type { Data, Network, RunDefaults } from '../model/index.js';

/** What the guest's init is told; see guest/init/protocol.c for the words. */
export interface GuestSpec {
  readonly exec: string;
  readonly argv: readonly string[];
  readonly hostname: string;
  readonly network: Network;
  /** Whether the guest asks for the time, which the host then tells to the millisecond. */
  readonly clock?: boolean;
  /** virtio-blk serial numbers and where the file systems on them go. */
  readonly disks: readonly { readonly serial: string; readonly path: string }[];
  /** 9p mount tags and where the host's directories go. */
  readonly volumes: readonly { readonly tag: string; readonly path: string }[];
  readonly data: readonly Data[];
  readonly run: Pick<RunDefaults, 'env' | 'cwd' | 'watchdogSeconds'>;
}

/** A name as Linux takes it for the host's (HOST_NAME_MAX). */
export const hostnameOf = (name: string): string => name.slice(0, 63);

const DEFAULT_ENV: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
};

function networkWords(network: Network): string[] {
  switch (network.kind) {
    case 'none':
      return [];
    case 'dhcp':
      return ['dhcp', '1'];
    case 'static':
      return [
        ...(network.interface === undefined ? [] : ['interface', network.interface]),
        'address',
        network.address,
        ...(network.gateway === undefined ? [] : ['gateway', network.gateway]),
        ...(network.dns ?? []).flatMap((server) => ['dns', server]),
      ];
  }
}

/** @throws UklError if a word has a NUL, which would end it */
export function encodeSpec(spec: GuestSpec): Buffer {
  const words: string[] = ['host', spec.hostname, 'exec', spec.exec, 'cwd', spec.run.cwd];
  for (const word of spec.argv) words.push('arg', word);
  for (const [key, value] of Object.entries({ ...DEFAULT_ENV, ...spec.run.env })) words.push('env', `${key}=${value}`);
  words.push(...networkWords(spec.network));
  if (spec.clock) words.push('clock', '1');
  for (const { serial, path } of spec.disks) words.push('disk', `${serial}:${path}`);
  for (const { tag, path } of spec.volumes) words.push('volume', `${tag}:${path}`);
  if (spec.run.watchdogSeconds !== undefined) words.push('watchdog', String(spec.run.watchdogSeconds));
  for (const { source, path, make = '', remote } of spec.data) {
    if (remote === undefined) words.push('data', `${source}:${path}:${make}`);
    else words.push('remote', `${remote.type}:${path}:${source}`, 'options', remote.options);
  }
  const wrong = words.find((word) => word.includes('\0'));
  if (wrong !== undefined) {
    throw new UklError('UKL_USAGE', `${JSON.stringify(wrong)} has a NUL, which no argument, variable or path of Linux can have`);
  }
  return Buffer.from(words.map((word) => `${word}\0`).join(''));
}
