// SPDX-License-Identifier: MIT
import { randomBytes } from 'node:crypto';
import { UklError } from '../lib/errors.js';
import type { Data, Network, Ring, RunDefaults, User } from '../model/index.js';

/** What the guest's init is told; see guest/init/protocol.c for the words. */
export interface GuestSpec {
  readonly exec: string;
  readonly argv: readonly string[];
  /** How many of `argv` always come first, whatever a cloud says. */
  readonly fixed: number;
  readonly hostname: string;
  /** "NAME:ADDRESS", for /etc/hosts. */
  readonly hosts?: readonly string[];
  /** Of each interface that is set up. */
  readonly networks: readonly Network[];
  /** Addresses of time servers, for a machine without the tool. */
  readonly ntp?: readonly string[];
  /** Whether the guest asks for the time, which the host then tells to the millisecond. */
  readonly clock?: boolean;
  /** virtio-blk serial numbers and where the file systems on them go. */
  readonly disks: readonly { readonly serial: string; readonly path: string }[];
  /** 9p mount tags and where the host's directories go. */
  readonly volumes: readonly { readonly tag: string; readonly path: string }[];
  readonly data: readonly Data[];
  readonly run: Pick<RunDefaults, 'env' | 'cwd' | 'watchdogSeconds' | 'user'>;
  /** Of the program: who is not root is given the capability for ring 0 only if it is for that. */
  readonly ring: Ring;
  readonly terminal?: Terminal | undefined;
}

/** A program's terminal, by its size in characters. */
export interface Terminal {
  readonly rows: number;
  readonly columns: number;
}

/** As one number, which is not 0: that is no terminal. */
export const encodeTerminal = ({ rows, columns }: Terminal): number => (Math.max(rows, 1) & 0xffff) * 65536 + (Math.max(columns, 1) & 0xffff);

const userWord = ({ uid, gid, groups }: User): string => `${uid}:${gid}:${groups.join(',')}`;

/** A name as Linux takes it for the host's (HOST_NAME_MAX). */
export const hostnameOf = (name: string): string => name.slice(0, 63);

const DEFAULT_ENV: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
};

const networkWords = (network: Network): string[] => [
  ...(network.interface === undefined ? [] : ['interface', network.interface]),
  ...(network.mac === undefined ? [] : ['mac', network.mac]),
  ...(network.dhcp ? ['dhcp', '1'] : []),
  ...(network.ipv6 ? ['ipv6', '1'] : []),
  ...network.addresses.flatMap((address) => ['address', address]),
  ...network.gateways.flatMap((gateway) => ['gateway', gateway]),
  ...network.dns.flatMap((server) => ['dns', server]),
];

/** Words as init takes them. Throws UKL_USAGE for a word with a NUL, which would end it. */
function encodeWords(words: readonly string[]): Buffer {
  const wrong = words.find((word) => word.includes('\0'));
  if (wrong !== undefined) {
    throw new UklError('UKL_USAGE', `${JSON.stringify(wrong)} has a NUL, which no argument, variable or path of Linux can have`);
  }
  return Buffer.from(words.map((word) => `${word}\0`).join(''));
}

/** A program beside the image's own. */
export interface SessionRequest {
  /** The first is looked for in the guest's PATH. */
  readonly argv: readonly string[];
  /** Over what the image's program has. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** The program's own by default. */
  readonly cwd?: string | undefined;
  /** It gets a terminal of this size. */
  readonly terminal?: Terminal | undefined;
  /** Root by default. */
  readonly user?: User | undefined;
}

/** What a session begins with; guest/init/session.c reads it. Throws UKL_USAGE. */
export function encodeRequest({ argv, env = {}, cwd = '', terminal, user }: SessionRequest): Buffer {
  return encodeWords([
    ...['cwd', cwd],
    ...argv.flatMap((word) => ['arg', word]),
    ...Object.entries(env).flatMap(([key, value]) => ['env', `${key}=${value}`]),
    ...(terminal === undefined ? [] : ['terminal', String(encodeTerminal(terminal))]),
    ...(user === undefined ? [] : ['user', userWord(user)]),
  ]);
}

/** @throws UklError if a word has a NUL, which would end it */
export function encodeSpec(spec: GuestSpec): Buffer {
  const words: string[] = ['host', spec.hostname, 'exec', spec.exec, 'cwd', spec.run.cwd];
  for (const word of spec.argv) words.push('arg', word);
  for (const [key, value] of Object.entries({ ...DEFAULT_ENV, ...spec.run.env })) words.push('env', `${key}=${value}`);
  words.push('fixed', String(spec.fixed), ...spec.networks.flatMap(networkWords));
  for (const server of spec.ntp ?? []) words.push('ntp', server);
  for (const alias of spec.hosts ?? []) words.push('alias', alias);
  if (spec.clock) words.push('clock', '1');
  for (const { serial, path } of spec.disks) words.push('disk', `${serial}:${path}`);
  for (const { tag, path } of spec.volumes) words.push('volume', `${tag}:${path}`);
  if (spec.run.user !== undefined) {
    words.push('user', userWord(spec.run.user));
    if (spec.ring === 0) words.push('ring0', '1');
  }
  if (spec.terminal !== undefined) words.push('terminal', String(encodeTerminal(spec.terminal)));
  if (spec.run.watchdogSeconds !== undefined) words.push('watchdog', String(spec.run.watchdogSeconds));
  for (const { source, path, make = '', remote } of spec.data) {
    if (remote === undefined) words.push('data', `${source}:${path}:${make}`);
    else words.push('remote', `${remote.type}:${path}:${source}`, 'options', remote.options);
  }
  return encodeWords(words);
}

/** What a guest that was saved is told before it goes on. */
export interface Instance {
  readonly hostname?: string | undefined;
  /** For programs that ask. */
  readonly args?: readonly string[] | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Of the interfaces that are another one's: each with its name, its hardware address and how it gets its addresses. */
  readonly networks?: readonly Network[] | undefined;
}

/** Of the seed, in bytes: what the kernel's pool has, twice. */
const SEED_BYTES = 64;

/**
 * The words for an instance, with the time and a seed that no other has.
 *
 * @throws UklError if a word has a NUL, which would end it
 */
export function encodeInstance({ hostname, args = [], env = {}, networks = [] }: Instance): Buffer {
  return encodeWords([
    'seed',
    randomBytes(SEED_BYTES).toString('hex'),
    'time',
    `${Date.now()}000000`,
    ...(hostname === undefined ? [] : ['host', hostname]),
    ...networks.flatMap(networkWords),
    ...args.flatMap((word) => ['arg', word]),
    ...Object.entries(env).flatMap(([key, value]) => ['env', `${key}=${value}`]),
  ]);
}
