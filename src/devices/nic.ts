// SPDX-License-Identifier: MIT
/** What the guest's network interfaces are connected to, and what addresses they get. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { UklError } from '../lib/errors.js';
import type { Accel, Machine, Network, Nic, PortForward } from '../model/index.js';

/** The host's kernel moves packets for a VMM that has it (drivers/vhost/net.c). */
const VHOST = '/dev/vhost-net';

const KINDS = ['user', 'none', 'tap', 'bridge', 'socket', 'listen'] as const;

/** All ports of this host that lead to a machine. */
export const portsOf = ({ nics }: Pick<Machine, 'nics'>): PortForward[] => nics.flatMap((nic) => (nic.kind === 'user' ? nic.ports : []));

/** Of a device's name: IFNAMSIZ - 1, without what would end it (net/core/dev.c, dev_valid_name()). */
const DEVICE = /^[^\s/:,]{1,15}$/;

const mac = (bytes: Iterable<number>): string => ['52', '54', '00', ...[...bytes].map((byte) => byte.toString(16).padStart(2, '0'))].join(':');

/** An address of QEMU's range, so that several guests can share a network. */
const newMac = (): string => mac(randomBytes(3));

/** The interfaces with a hardware address each, if there are several: their order is none that a guest would know. */
export function tellApart(nics: readonly Nic[]): readonly Nic[] {
  if (nics.length < 2) return nics;
  // In a user network nobody else is: what QEMU itself would count up from.
  return nics.map((nic, index) => (nic.kind === 'user' ? { ...nic, mac: mac([0x12, 0x34, 0x56 + index]) } : nic));
}

/** The first word of `--net`. Throws UKL_USAGE. */
export function netKind(text: string): Nic['kind'] | 'none' {
  const kind = KINDS.find((one) => text === one || (one !== 'user' && one !== 'none' && text.startsWith(`${one}:`) && text.length > one.length + 1));
  if (kind === undefined || (text === kind && kind !== 'user' && kind !== 'none'))
    throw new UklError('UKL_USAGE', `'${text}' is no network`, { hint: '--net user, none, tap:NAME, bridge:NAME, socket:PATH or listen:PATH' });
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

/** The parts of "NAME[,mac=MAC][,mtu=BYTES]". Throws UKL_USAGE. */
function splitTap(text: string): { readonly name: string; readonly mac?: string; readonly mtu?: number } {
  const [, name = '', mac, mtu] = /^([^,]*)(?:,mac=((?:[0-9a-f]{2}:){5}[0-9a-f]{2}))?(?:,mtu=(\d{2,5}))?$/i.exec(text) ?? [];
  // ETH_MIN_MTU and ETH_MAX_MTU (include/uapi/linux/if_ether.h).
  if (name === '' || (mtu !== undefined && (Number(mtu) < 68 || Number(mtu) > 65535)))
    throw new UklError('UKL_USAGE', `'${text}' is no TAP device`, {
      hint: '--net tap:NAME, with ,mac=52:54:00:00:00:01 and ,mtu=1450 behind it where they matter',
    });
  return { name, ...(mac === undefined ? {} : { mac: mac.toLowerCase() }), ...(mtu === undefined ? {} : { mtu: Number(mtu) }) };
}

/**
 * "user", "none", "tap:NAME[,mac=MAC][,mtu=BYTES]", "bridge:NAME", "socket:PATH" or "listen:PATH".
 *
 * @throws UKL_USAGE
 */
export function parseNic(text: string, ports: readonly PortForward[], accel: Accel, nth = 0): Nic | undefined {
  const kind = netKind(text);
  if (kind === 'user') return { kind, ports, nth };
  const { name, mac, mtu } = kind === 'tap' ? splitTap(text.slice(kind.length + 1)) : { name: text.slice(kind.length + 1) };
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
      return { kind, device: name, vhost: accel === 'kvm' && existsSync(VHOST), mac: mac ?? newMac(), ...(mtu === undefined ? {} : { mtu }) };
    case 'bridge':
      if (!existsSync(`/sys/class/net/${name}/bridge`))
        throw new UklError('UKL_USAGE', `there is no bridge ${name} here`, { hint: `sudo ip link add ${name} type bridge && sudo ip link set ${name} up` });
      return { kind, device: name, mac: newMac() };
    case 'socket':
    case 'listen':
      return { kind, path: name, mac: newMac() };
    default:
      return undefined;
  }
}

/** MAX_ADDRESSES of guest/init/init.h. */
const ADDRESSES_MAX = 8;

const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i;

/** "NAME=" or "MAC=" in front of how an interface gets its addresses. */
function splitInterface(text: string): readonly [string | undefined, string] {
  const equals = text.indexOf('=');
  return equals < 0 ? [undefined, text] : [text.slice(0, equals), text.slice(equals + 1)];
}

const isPrefix = (word: string): boolean => {
  const [, ip = '', bits] = /^([\da-fA-F.:]+)\/(\d{1,3})$/.exec(word) ?? [];
  const version = isIP(ip);
  return version !== 0 && Number(bits) >= 1 && Number(bits) <= (version === 4 ? 32 : 128);
};

/**
 * How an interface gets its addresses: "none", or "dhcp", "ipv6" and ADDRESS/BITS, with a gateway
 * and name servers behind an address, all with commas between them. In front may be the interface's name or its MAC,
 * and "="; without, it is the one of this number. Undefined for "none".
 *
 * @throws UKL_USAGE
 */
export function parseNetwork(text: string, index = 0): Network | undefined {
  const [which = `eth${index}`, how] = splitInterface(text);
  const wrong = new UklError('UKL_USAGE', `'${text}' is no way to get addresses`, {
    hint: '--network dhcp, ipv6, none, or 10.0.0.2/24,10.0.0.1 (a gateway, then name servers), with commas between several; in ukl.config with eth1= or a MAC and = in front',
  });
  if (!MAC.test(which) && !DEVICE.test(which)) throw wrong;
  const place = MAC.test(which) ? { mac: which.toLowerCase() } : which === 'eth0' ? {} : { interface: which };
  if (how === 'none') return undefined;
  const addresses: string[] = [];
  const gateways: string[] = [];
  const dns: string[] = [];
  const words = how.split(',');
  words.forEach((word, at) => {
    if (word === 'dhcp' || word === 'ipv6') return;
    if (isPrefix(word)) addresses.push(word);
    else if (addresses.length === 0) throw wrong;
    // A gateway may be left out, with the comma: 10.0.0.2/24,,10.0.0.3
    else if (isPrefix(words[at - 1] ?? '')) {
      if (word !== '' && isIP(word) === 0) throw wrong;
      if (word !== '') gateways.push(word);
    } else if (isIP(word) === 0) throw wrong;
    else dns.push(word);
  });
  if (addresses.length > ADDRESSES_MAX) throw wrong;
  return { ...place, dhcp: words.includes('dhcp'), ipv6: words.includes('ipv6'), addresses, gateways, dns };
}

const isSix = (word: string): boolean => word.includes(':');

/** The same as text: how init takes it from the kernel's command line. */
export function formatNetwork({ interface: name, mac, dhcp, ipv6, addresses, gateways, dns }: Network): string {
  // Each gateway is behind the first address of its kind.
  const behind = addresses.map((address, index) =>
    addresses.findIndex((one) => isSix(one) === isSix(address)) === index ? (gateways.find((one) => isSix(one) === isSix(address)) ?? '') : '',
  );
  const words = [...(dhcp ? ['dhcp'] : []), ...(ipv6 ? ['ipv6'] : []), ...addresses.flatMap((address, index) => [address, behind[index] ?? '']), ...dns];
  const which = mac ?? name;
  return `${which === undefined ? '' : `${which}=`}${words.join(',').replace(/,+$/, '')}`;
}
