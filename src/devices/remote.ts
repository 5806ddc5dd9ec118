// SPDX-License-Identifier: MIT
/** File systems of other machines, and of the hypervisor's, as a configuration names them. */
import { isIPv4, isIPv6 } from 'node:net';
import { UklError } from '../lib/errors.js';
import type { Data, RemoteType } from '../model/index.js';

/** NFS and CIFS are told by their sources; the others' is a tag, and says nothing. */
const PATTERNS: Readonly<Record<RemoteType, RegExp>> = {
  nfs4: /^(\[[0-9a-f:]+\]|[^:/[\]]+):(\/[^:]*):(\/[^:]+)(?::nfs4?)?((?:,[^,:]+)*)$/i,
  cifs: /^\/\/([^:/]+)(\/[^:]+):(\/[^:]+)(?::cifs)?((?:,[^,:]+)*)$/,
  '9p': /^([^:/]+)():(\/[^:]+):9p((?:,[^,:]+)*)$/,
  virtiofs: /^([^:/]+)():(\/[^:]+):virtiofs((?:,[^,:]+)*)$/,
};

/** The kernel resolves no names, and no program that could runs yet. Throws UKL_CONFIG. */
function checkAddress(host: string, text: string): string {
  const address = host.replace(/^\[|\]$/g, '');
  if (isIPv4(address) || isIPv6(address)) return address;
  throw new UklError('UKL_CONFIG', `'${host}' is no address: nobody in the guest resolves names before file systems are mounted`, {
    hint: `the server's address in place of ${host}: '${text.replace(host, '192.0.2.1')}'`,
  });
}

/** What is said unless the user says otherwise (nfs(5), mount.cifs(8), Documentation/filesystems/9p.rst). */
function usual(type: RemoteType, host: string, text: string): readonly string[] {
  switch (type) {
    case 'nfs4':
      return ['vers=4.2', `addr=${checkAddress(host, text)}`];
    case 'cifs':
      return ['vers=3.0', `ip=${checkAddress(host, text)}`];
    case '9p':
      return ['trans=virtio', 'version=9p2000.L'];
    case 'virtiofs':
      return [];
  }
}

/** An option of the user's takes the place of ours. */
function mergeOptions(ours: readonly string[], theirs: readonly string[]): string {
  const keyOf = (option: string): string => option.split('=', 1)[0] ?? '';
  const said = new Set(theirs.map(keyOf));
  return [...ours.filter((option) => !said.has(keyOf(option))), ...theirs].join(',');
}

/**
 * "ADDRESS:/export:/path[:nfs]", "//ADDRESS/share:/path[:cifs]", "TAG:/path:9p" or "TAG:/path:virtiofs", each with
 * the options of mount behind commas; undefined for what is none of them.
 *
 * @throws UKL_CONFIG for a name in place of an address
 */
export function parseRemote(text: string): Data | undefined {
  for (const [type, pattern] of Object.entries(PATTERNS) as [RemoteType, RegExp][]) {
    const match = pattern.exec(text);
    if (match === null) continue;
    const [, host = '', share = '', path = '', options = ''] = match;
    const source = type === 'nfs4' ? `${host}:${share}` : type === 'cifs' ? `//${host}${share}` : host;
    return { source, path, remote: { type, options: mergeOptions(usual(type, host, text), options.split(',').filter(Boolean)) } };
  }
  return undefined;
}
