// SPDX-License-Identifier: MIT
/**
 * The interfaces of a container's network name space, as the guest's own. Each
 * gets a TAP device beside it, and what comes in at the one goes out at the other
 * (tc-mirred(8)): the guest has the interface's hardware address, its addresses
 * and its routes, and the host's side of the name space sees nothing of it.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { formatNetwork } from '../devices/nic.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import type { Network, Requirement } from '../model/index.js';

export const requirements: readonly Requirement[] = [{ package: 'iproute2', why: "connects a guest with its container's network", file: '/sbin/tc' }];

const IP = '/sbin/ip';
const TC = '/sbin/tc';

const TAP = 'ukl';

/** MAX_CARDS of guest/init/init.h. */
const INTERFACES_MAX = 8;

const linksSchema = z.array(
  z.object({
    ifname: z.string(),
    link_type: z.string(),
    address: z.string().optional(),
    mtu: z.int(),
    flags: z.array(z.string()).default([]),
    addr_info: z
      .array(z.object({ family: z.string().optional(), local: z.string().optional(), prefixlen: z.int().optional(), scope: z.string().optional() }))
      .default([]),
  }),
);
const routesSchema = z.array(z.object({ dst: z.string(), gateway: z.string().optional(), dev: z.string().optional() }));

/** An interface of the name space, and what the guest is told of it. */
export interface Link {
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  readonly network: Network;
}

/** Interfaces that have addresses, from what `ip -j` says of them and of their routes. Throws UKL_HOST. */
export function linksFrom(addresses: unknown, routes: unknown): Link[] {
  const parsed = linksSchema.safeParse(addresses);
  const known = routesSchema.safeParse(routes);
  if (!parsed.success || !known.success)
    throw new UklError('UKL_HOST', 'ip -j says something that ukl does not know', { hint: 'Debian 12 or newer: its iproute2' });
  return parsed.data.flatMap(({ ifname, link_type, address, mtu, addr_info }) => {
    const own = addr_info.filter(({ scope, local }) => scope !== 'link' && local !== undefined);
    if (link_type !== 'ether' || address === undefined || own.length === 0) return [];
    const gateways = known.data
      .filter(({ dst, dev, gateway }) => dst === 'default' && dev === ifname && gateway !== undefined)
      .flatMap(({ gateway }) => gateway ?? []);
    const network: Network = { addresses: own.map(({ local, prefixlen }) => `${local}/${prefixlen}`), gateways, dns: [] };
    return [{ name: ifname, mac: address, mtu, network }];
  });
}

/** Name servers of a resolv.conf that a guest could reach: none on a loopback interface. */
export function nameServersIn(text: string): string[] {
  return [...text.matchAll(/^nameserver\s+([\da-fA-F.:]+)\s*$/gm)].flatMap(([, server = '']) => (/^127\.|^::1$/.test(server) ? [] : [server]));
}

async function ask(...words: readonly string[]): Promise<unknown> {
  return JSON.parse((await exec(IP, ['-j', ...words])) || '[]') as unknown;
}

/** A TAP device that a VMM holds has a carrier. */
async function isHeld(device: string): Promise<boolean | undefined> {
  const text = await readFile(`/sys/class/net/${device}/carrier`, 'latin1').catch(() => undefined);
  if (text !== undefined) return text.trim() === '1';
  // Without a carrier, a device that is down cannot be read.
  const there = await readFile(`/sys/class/net/${device}/ifindex`).catch(() => undefined);
  return there === undefined ? undefined : false;
}

/** All that arrives at one device leaves by the other. */
async function redirect(from: string, to: string): Promise<void> {
  // What one that was killed has left is replaced.
  await exec(TC, ['qdisc', 'replace', 'dev', from, 'ingress']);
  // The classifier that every kernel with traffic control has.
  await exec(TC, [
    ...`filter replace dev ${from} parent ffff: protocol all pref 1 handle 800::800 u32`.split(' '),
    ...`match u32 0 0 action mirred egress redirect dev ${to}`.split(' '),
  ]);
}

async function connect({ name, mtu }: Link, tap: string): Promise<void> {
  const held = await isHeld(tap);
  if (held)
    throw new UklError('UKL_USAGE', `another guest has the network of this name space already (${tap})`, {
      hint: 'one container of ukl-oci for a pod, or a network of its own',
    });
  if (held === undefined) await exec(IP, ['tuntap', 'add', 'dev', tap, 'mode', 'tap']);
  await exec(IP, ['link', 'set', 'dev', tap, 'mtu', String(mtu), 'up']);
  await redirect(name, tap);
  await redirect(tap, name);
}

/** The network of a machine, in the words of --net and --network. */
export interface Connected {
  readonly net: readonly string[];
  readonly network: readonly string[];
}

/**
 * Connects the interfaces of the name space that this process is in.
 *
 * @throws UKL_USAGE if another guest has them, UKL_COMMAND if ip or tc fails
 */
export async function connectInterfaces(dns: readonly string[]): Promise<Connected> {
  const routes = [
    ...z.array(z.unknown()).parse(await ask('route', 'show', 'default')),
    ...z.array(z.unknown()).parse(await ask('-6', 'route', 'show', 'default')),
  ];
  const links = linksFrom(await ask('address', 'show'), routes).slice(0, INTERFACES_MAX);
  if (links.length === 0) return { net: ['none'], network: [] };
  const net: string[] = [];
  const network: string[] = [];
  for (const [index, link] of links.entries()) {
    const tap = `${TAP}${index}`;
    await connect(link, tap);
    net.push(`tap:${tap},mac=${link.mac},mtu=${link.mtu}`);
    network.push(formatNetwork({ ...link.network, dns: index === 0 ? dns : [] }));
  }
  return { net, network };
}

/** Removes the TAP devices; another container of the name space may then have its network. */
export async function disconnectInterfaces({ net }: Connected): Promise<void> {
  const taps = net.flatMap((word) => /^tap:([^,]+)/.exec(word)?.[1] ?? []);
  for (const tap of taps) await exec(IP, ['link', 'delete', 'dev', tap]).catch(() => {});
}
