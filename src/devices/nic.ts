// SPDX-License-Identifier: MIT
/** What the guest's network interface is connected to, and what addresses it gets. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { UklError } from '../lib/errors.js';
import type { Accel, Machine, Network, Nic, PortForward } from '../model/index.js';

/** The host's kernel moves packets for a VMM that has it (drivers/vhost/net.c). */
const VHOST = '/dev/vhost-net';

const KINDS = ['user', 'none', 'tap', 'bridge', 'socket'] as const;

/** All ports of this host that lead to a machine. */
export const portsOf = ({ nics }: Pick<Machine, 'nics'>): PortForward[] => nics.flatMap((nic) => (nic.kind === 'user' ? nic.ports : []));

/** Of a device's name: IFNAMSIZ - 1, without what would end it (net/core/dev.c, dev_valid_name()). */
const DEVICE = /^[^\s/:,]{1,15}$/;

/** An address of QEMU's range, so that several guests can share a network. */
const newMac = (): string => ['52', '54', '00', ...[...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, '0'))].join(':');

/** The first word of `--net`. Throws UKL_USAGE. */
export function netKind(text: string): Nic['kind'] | 'none' {
  const kind = KINDS.find((one) => text === one || (one !== 'user' && one !== 'none' && text.startsWith(`${one}:`) && text.length > one.length + 1));
  if (kind === undefined || (text === kind && kind !== 'user' && kind !== 'none'))
    throw new UklError('UKL_USAGE', `'${text}' is no network`, { hint: '--net user, none, tap:NAME, bridge:NAME or socket:PATH' });
  return kind;
}

/** Of a file of sysfs, as hex: 2 is a TAP device, 1 a TUN device (IFF_TAP, linux/if_tun.h). */
function isTap(device: string): boolean {
  try {
    return (Number(readFileSync(`/sys/class/net/${device}/tun_flags`, 'latin1')) & 2) !== 0;
  } catch {
    return false;
  }
}

/**
 * "user", "none", "tap:NAME", "bridge:NAME" or "socket:PATH".
 *
 * @throws UKL_USAGE
 */
export function parseNic(text: string, ports: readonly PortForward[], accel: Accel): Nic | undefined {
  const kind = netKind(text);
  const name = text.slice(kind.length + 1);
  if (kind === 'user') return { kind, ports };
  if ((kind === 'tap' || kind === 'bridge') && !DEVICE.test(name)) throw new UklError('UKL_USAGE', `'${name}' is no name of a network device`);
  if (ports.length > 0) {
    throw new UklError('UKL_USAGE', `ports of this host lead to the guest in the user network only, not with --net ${text}`, {
      hint: 'in the others the guest has an address of its own',
    });
  }
  switch (kind) {
    case 'tap':
      if (!isTap(name))
        throw new UklError('UKL_USAGE', `there is no TAP device ${name} here`, {
          hint: `sudo ip tuntap add ${name} mode tap user $USER && sudo ip link set ${name} up`,
        });
      return { kind, device: name, vhost: accel === 'kvm' && existsSync(VHOST), mac: newMac() };
    case 'bridge':
      if (!existsSync(`/sys/class/net/${name}/bridge`))
        throw new UklError('UKL_USAGE', `there is no bridge ${name} here`, { hint: `sudo ip link add ${name} type bridge && sudo ip link set ${name} up` });
      return { kind, device: name, mac: newMac() };
    case 'socket':
      return { kind, path: name, mac: newMac() };
    default:
      return undefined;
  }
}

/**
 * "dhcp", "none", or ADDRESS/BITS with a gateway and name servers behind commas.
 *
 * @throws UKL_USAGE
 */
export function parseNetwork(text: string): Network {
  if (text === 'dhcp' || text === 'none') return { kind: text };
  const [address = '', gateway, ...dns] = text.split(',');
  const [, ip = '', bits] = /^([\d.]+)\/(\d{1,2})$/.exec(address) ?? [];
  if (!isIPv4(ip) || Number(bits) > 32 || ![...(gateway === undefined ? [] : [gateway]), ...dns].every((one) => isIPv4(one)))
    throw new UklError('UKL_USAGE', `'${text}' is no way to get addresses`, {
      hint: '--network dhcp, none, or 10.0.0.2/24,10.0.0.1 (a gateway, then name servers)',
    });
  return { kind: 'static', address, ...(gateway === undefined ? {} : { gateway }), ...(dns.length === 0 ? {} : { dns }) };
}
