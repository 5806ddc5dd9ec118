// SPDX-License-Identifier: MIT
/** Addresses as users write them, and init's readers of what a network sends: right, wrong and damaged. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatNetwork, parseNetwork, parseNic, tellApart } from '../../src/devices/nic.js';
import { projectRoot } from '../../src/lib/paths.js';
import type { Nic } from '../../src/model/index.js';

describe('--network', () => {
  const nothing = { dhcp: false, ipv6: false, addresses: [], gateways: [], dns: [] };
  test.each([
    ['dhcp', { ...nothing, dhcp: true }],
    ['dhcp,ipv6', { ...nothing, dhcp: true, ipv6: true }],
    ['10.0.0.2/24', { ...nothing, addresses: ['10.0.0.2/24'] }],
    ['10.0.0.2/24,10.0.0.1,10.0.0.3,10.0.0.4', { ...nothing, addresses: ['10.0.0.2/24'], gateways: ['10.0.0.1'], dns: ['10.0.0.3', '10.0.0.4'] }],
    ['10.0.0.2/24,,10.0.0.3', { ...nothing, addresses: ['10.0.0.2/24'], dns: ['10.0.0.3'] }],
    [
      '10.0.0.2/24,10.0.0.1,2001:db8::2/64,fe80::1,2001:db8::53',
      { ...nothing, addresses: ['10.0.0.2/24', '2001:db8::2/64'], gateways: ['10.0.0.1', 'fe80::1'], dns: ['2001:db8::53'] },
    ],
    ['dhcp,2001:db8::2/64', { ...nothing, dhcp: true, addresses: ['2001:db8::2/64'] }],
    ['eth1=dhcp', { ...nothing, dhcp: true, interface: 'eth1' }],
    ['52:54:00:AA:bb:cc=dhcp', { ...nothing, dhcp: true, mac: '52:54:00:aa:bb:cc' }],
  ])('%s', (text, network) => {
    expect(parseNetwork(text)).toEqual(network);
    // What init is told on the kernel's command line says the same.
    expect(parseNetwork(formatNetwork(network))).toEqual(network);
  });
  test('none', () => expect(parseNetwork('eth3=none')).toBeUndefined());
  test('the second is that of the second interface', () => expect(parseNetwork('dhcp', 1)).toEqual({ ...nothing, dhcp: true, interface: 'eth1' }));
  test.each(['', 'dhcp6', '10.0.0.1', '10.0.0.2/0', '10.0.0.2/33', '2001:db8::2/129', '10.0.0.2/24,x', '10.0.0.2/24,10.0.0.1,', 'a/b=dhcp', '=dhcp'])(
    "'%s' is refused",
    (text) => expect(() => parseNetwork(text)).toThrow(expect.objectContaining({ code: 'UKL_USAGE' })),
  );
});

test('interfaces are told apart by their hardware addresses, if there are several', () => {
  const user = (nth: number): Nic => parseNic('user', [], 'tcg', nth) as Nic;
  expect(tellApart([user(0)])).toEqual([{ kind: 'user', ports: [], nth: 0 }]);
  expect(tellApart([user(0), user(1)]).map(({ mac }) => mac)).toEqual(['52:54:00:12:34:56', '52:54:00:12:34:57']);
});

const PARTS = { RESOLVE: 'resolve.c', DHCP: 'dhcp.c', DHCP6: 'dhcp6.c', ROUTERS: 'routers.c', NTP: 'ntp.c', NETCONFIG: 'netconfig.c' } as const;
type Part = keyof typeof PARTS;

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-network-'));
  const init = join(projectRoot, 'guest/init');
  const compile = ([part, file]: readonly [string, string]): Promise<unknown> => {
    const sources = ['addresses.c', 'domains.c', ...(part === 'NETCONFIG' ? ['yaml.c'] : part === 'NTP' ? ['resolve.c'] : [])].map((name) => join(init, name));
    const flags = ['-g', '-O1', '-Wall', '-Wextra', '-Werror', '-fsanitize=address,undefined', '-fno-sanitize-recover'];
    const names = [`-DPART_${part}`, `-DMODULE="${file}"`, '-I', init];
    return promisify(execFile)('gcc', [...flags, ...names, '-o', join(work, part), join(projectRoot, 'test/fixtures/network.c'), ...sources]);
  };
  await Promise.all(Object.entries(PARTS).map(compile));
}, 120_000);
afterAll(() => rm(work, { recursive: true, force: true }));

/** What a part of init makes of bytes. */
const feed = (part: Part, input: Buffer, ...words: readonly string[]): string[] =>
  execFileSync(join(work, part), words, { input, encoding: 'utf8' }).split('\n').slice(0, -1);
const survives = (part: Part, input: Buffer): void => expect(execFileSync(join(work, part), ['fuzz', '20000'], { input, encoding: 'utf8' })).toBe('survived\n');

const bytes = (...parts: readonly (number | string | Buffer)[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : typeof part === 'string' ? Buffer.from(part, 'latin1') : part)));
const big = (value: number, size: number): Buffer => {
  const buffer = Buffer.alloc(size);
  buffer.writeUIntBE(value, 0, size);
  return buffer;
};
const v4 = (text: string): Buffer => Buffer.from(text.split('.').map(Number));
/** An address whose groups are all written but for one "::". */
const v6 = (text: string): Buffer => {
  const [head = '', tail = ''] = text.split('::');
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const [first, last] = [groups(head), groups(tail)];
  return Buffer.concat([...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last].map((group) => big(group, 2)));
};
const domain = (text: string): Buffer => bytes(...text.split('.').flatMap((label) => [label.length, label]), 0);

describe('DHCP', () => {
  const option = (code: number, value: Buffer): Buffer => bytes(code, value.length, value);
  const packet = (...options: readonly Buffer[]): Buffer => {
    const head = Buffer.alloc(240);
    head.set([2, 1, 6, 0, 1, 2, 3, 4], 0);
    v4('10.9.0.50').copy(head, 16);
    head.set([0x52, 0x54, 0, 1, 2, 3], 28);
    head.writeUInt32BE(0x63825363, 236);
    return bytes(head, ...options, 255);
  };
  const ack = option(53, bytes(5));
  const mask = option(1, v4('255.255.255.0'));
  const all = packet(
    ...[ack, mask, option(54, v4('10.9.0.1')), option(51, big(3600, 4)), option(3, v4('10.9.0.1')), option(6, bytes(v4('10.9.0.53'), v4('10.9.0.54')))],
    ...[option(12, bytes('web-1')), option(15, bytes('a.test\0')), option(26, big(1400, 2)), option(42, v4('10.9.0.2'))],
    // Names with a pointer to the first one, in two parts (RFC 3396, 3397); routes with three widths, one with bits behind it (RFC 3442).
    ...[option(119, bytes(domain('b.test'), 1)), option(119, bytes('c', 0xc0, 2))],
    option(121, bytes(16, 10, 77, v4('10.9.0.3'), 0, v4('10.9.0.1'), 9, 10, 0xff, v4('0.0.0.0'))),
  );

  test('all that is asked for', () => {
    expect(feed('DHCP', all)).toEqual([
      'address 10.9.0.50/24 valid 4294967295 preferred 4294967295',
      'mtu 1400',
      'route 10.77.0.0/16 via 10.9.0.3',
      'route 0.0.0.0/0 via 10.9.0.1',
      'route 10.128.0.0/9 via 0.0.0.0',
      'dns 10.9.0.53',
      'dns 10.9.0.54',
      'search b.test c.test',
      'ntp 10.9.0.2',
      'host web-1',
      'due 1800',
    ]);
  });
  test('a router, a domain and the mask of a class, without better', () => {
    const lines = feed('DHCP', packet(ack, option(3, v4('10.9.0.1')), option(15, bytes('a.test'))));
    expect(lines).toEqual(['address 10.9.0.50/8 valid 4294967295 preferred 4294967295', 'route 0.0.0.0/0 via 10.9.0.1', 'search a.test', 'due -1']);
  });
  test.each([
    ['a name with a command in it', packet(ack, mask, option(12, bytes('a;reboot')))],
    ['a domain with a line end', packet(ack, mask, option(15, bytes('a\nnameserver 6.6.6.6')))],
    ['a search list that points to itself', packet(ack, mask, option(119, bytes(0xc0, 0)))],
    ['a search list that points ahead', packet(ack, mask, option(119, bytes(0xc0, 2, domain('a.test'))))],
    ['a label that is longer than the option', packet(ack, mask, option(119, bytes(60, 'a')))],
    ['an MTU that is none', packet(ack, mask, option(26, big(68, 2)))],
    ['a route of 33 bits', packet(ack, mask, option(121, bytes(33, 1, 2, 3, 4, 5, v4('10.9.0.1'))))],
    ['a route that ends early', packet(ack, mask, option(121, bytes(24, 1, 2, 3, 10, 9)))],
  ])('%s is left', (_, damaged) => expect(feed('DHCP', damaged)).toEqual(['address 10.9.0.50/24 valid 4294967295 preferred 4294967295', 'search ', 'due -1']));
  test('a lease that nobody renews: asked of its server from half of it on, of all from 7/8 on, and given up at its end', () => {
    const [, , , ...life] = feed('DHCP', packet(ack, mask, option(54, v4('10.9.0.1')), option(51, big(3600, 4))), 'live');
    expect(life[0]).toBe('after 1800: sent to the server');
    expect(life.find((line) => line.endsWith('all'))).toBe('after 3150: sent to all');
    expect(life).toContain('after 3600: drop 10.9.0.50');
    expect(life.filter((line) => line.endsWith('the server')).length).toBeGreaterThan(3);
  });
  test('damaged packets', () => survives('DHCP', all));
});

describe('DHCPv6', () => {
  const option = (code: number, value: Buffer): Buffer => bytes(big(code, 2), big(value.length, 2), value);
  const client = option(1, bytes(0, 3, 0, 1, 0x52, 0x54, 0, 1, 2, 3));
  const server = option(2, bytes(0, 3, 0, 1, 'router'));
  const message = (type: number, ...options: readonly Buffer[]): Buffer => bytes(type, 1, 2, 3, ...options);
  const lease = (address: string, preferred = 3000, valid = 3600, more: Buffer = Buffer.alloc(0)): Buffer =>
    option(3, bytes(0, 1, 2, 3, big(0, 4), big(0, 4), option(5, bytes(v6(address), big(preferred, 4), big(valid, 4), more))));
  const rapid = option(14, Buffer.alloc(0));
  const names = [option(23, v6('2001:db8::53')), option(24, bytes(domain('a.test'), domain('b.test')))];
  const time = option(56, bytes(option(3, domain('ntp.test')), option(1, v6('2001:db8::123'))));
  const reply = message(7, client, server, rapid, lease('2001:db8::7'), ...names, time);
  const SAID = ['dns 2001:db8::53', 'search a.test b.test', 'ntp ntp.test', 'ntp 2001:db8::123'];

  test('an address, names and the time, and without the address for who asks for none', () => {
    expect(feed('DHCP6', reply)).toEqual([...SAID, 'address 2001:db8::7/128 valid 3600 preferred 3000', 'state 3 due 1500', ...SAID, 'state 7 due 86400']);
  });
  test('an offer is asked for', () => expect(feed('DHCP6', message(2, client, server, lease('2001:db8::7')))[0]).toMatch(/^sent 3, /));
  test.each([
    ["another client's", message(7, option(1, bytes(0, 3, 0, 1, 'others')), server, rapid, lease('2001:db8::7'))],
    ["another question's", bytes(7, 9, 9, 9, client, server, rapid, lease('2001:db8::7'))],
    ['one without a server', message(7, client, rapid, lease('2001:db8::7'))],
    ['one of a server with too long a name', message(7, client, option(2, Buffer.alloc(131)), rapid, lease('2001:db8::7'))],
    ['a refusal', message(7, client, server, rapid, option(13, big(2, 2)), lease('2001:db8::7'))],
    ['an advertisement of no address', message(2, client, server, option(3, bytes(0, 1, 2, 3, big(0, 4), big(0, 4), option(13, big(2, 2)))))],
  ])('%s is left', (_, packet) => expect(feed('DHCP6', packet)).toEqual([]));
  test.each([
    ['that is over', lease('2001:db8::7', 0, 0)],
    ['that is preferred for longer than it is valid', lease('2001:db8::7', 7200, 3600)],
    ['that is refused by itself', lease('2001:db8::7', 1, 2, option(13, big(4, 2)))],
    ['of the link', lease('fe80::7')],
    ['of a group', lease('ff02::7')],
    ['of nobody', lease('0::')],
    ['of another association', option(3, bytes(9, 9, 9, 9, big(0, 4), big(0, 4), option(5, bytes(v6('2001:db8::7'), big(1, 4), big(2, 4)))))],
  ])('an address %s is left', (_, ia) => expect(feed('DHCP6', message(7, client, server, rapid, ia)).filter((line) => line.startsWith('address'))).toEqual([]));
  test('a lease that nobody renews: renewed at half of its preferred life, rebound at 4/5, and sought anew at its end', () => {
    const life = feed('DHCP6', message(7, client, server, rapid, lease('2001:db8::7')), 'live').filter((line) => line.startsWith('after'));
    const first = (type: number): string | undefined => life.find((line) => line.includes(` sent ${type},`));
    expect([first(5), first(6), first(1)]).toEqual([
      'after 1500: sent 5, 98 bytes',
      'after 2400: sent 6, 84 bytes',
      expect.stringMatching(/^after 3600: sent 1, /),
    ]);
    // Each waits about twice as long as the one before: RFC 8415, 15.
    const renewals = life.filter((line) => line.includes(' sent 5,')).map((line) => Number(/\d+/.exec(line)?.[0]));
    expect(renewals.slice(0, 5)).toEqual([1500, 1510, 1531, 1575, 1665]);
  });
  test('damaged packets', () => survives('DHCP6', reply));
});

describe('options of an advertisement', () => {
  const option = (type: number, lifetime: number, value: Buffer): Buffer =>
    bytes(type, 1 + Math.ceil(value.length / 8), 0, 0, big(lifetime, 4), value, Buffer.alloc(-value.length & 7));
  const both = bytes(option(25, 600, bytes(v6('2001:db8::53'), v6('2001:db8::54'))), option(31, 600, bytes(domain('a.test'), domain('b.test'))));

  test('name servers and domains', () => expect(feed('ROUTERS', both)).toEqual(['dns 2001:db8::53', 'dns 2001:db8::54', 'search a.test b.test']));
  test('those that are taken back are gone', () =>
    expect(feed('ROUTERS', bytes(both, option(25, 0, v6('2001:db8::53')), option(31, 0, domain('a.test'))))).toEqual(['dns 2001:db8::54', 'search ']));
  test('a fourth finds no room', () => {
    const four = [1, 2, 3, 4].map((number) => v6(`2001:db8::${number}`));
    expect(feed('ROUTERS', option(25, 600, bytes(...four)))).toEqual(['dns 2001:db8::1', 'dns 2001:db8::2', 'dns 2001:db8::3', 'search ']);
  });
  test.each([
    ['of length 0', bytes(25, 0, 0, 0, big(600, 4), v6('2001:db8::53'))],
    ['that is longer than the message', bytes(25, 9, 0, 0, big(600, 4), v6('2001:db8::53'))],
    ['with a server for all', option(25, 600, v6('ff02::1'))],
    ['that is another', option(24, 600, v6('2001:db8::53'))],
  ])('one %s is left', (_, options) => expect(feed('ROUTERS', options)).toEqual([]));
  test('damaged ones', () => survives('ROUTERS', both));
});

describe('names', () => {
  const question = bytes(domain('time.test'), 0, 1, 0, 1);
  const packet = (answers: readonly Buffer[], { id = 0x0102, code = 0, asked = question, count = answers.length } = {}): Buffer =>
    bytes(big(id, 2), 0x81, 0x80 | code, big(1, 2), big(count, 2), big(0, 4), asked, ...answers);
  const record = (type: number, data: Buffer, name: Buffer = bytes(0xc0, 12)): Buffer => bytes(name, big(type, 2), 0, 1, big(60, 4), big(data.length, 2), data);
  const alias = record(5, domain('other.test'));
  const good = packet([alias, record(1, v4('192.0.2.1'), domain('other.test')), record(1, v4('192.0.2.2'), domain('other.test'))]);

  test('the first address, behind an alias', () => expect(feed('RESOLVE', good)).toEqual(['found 192.0.2.1']));
  test.each([
    ['another number', packet([record(1, v4('192.0.2.1'))], { id: 0x0103 }), 'not ours'],
    ['another question', packet([record(1, v4('192.0.2.1'))], { asked: bytes(domain('evil.test'), 0, 1, 0, 1) }), 'not ours'],
    ['a question', bytes(big(0x0102, 2), 1, 0, big(1, 2), big(0, 6), question), 'not ours'],
    ['half a question', packet([]).subarray(0, 20), 'not ours'],
    ['an error', packet([], { code: 3 }), 'none'],
    ['an alias alone', packet([alias]), 'none'],
    ['an address of another length', packet([record(1, bytes(1, 2, 3))]), 'none'],
    ['fewer answers than it says', packet([alias], { count: 9 }), 'none'],
    ['a name without an end', packet([bytes(63, 'x')]), 'none'],
  ])('%s', (_, damaged, answer) => expect(feed('RESOLVE', damaged)).toEqual([`${answer} `]));
  test('damaged packets', () => survives('RESOLVE', good));
});

describe('SNTP', () => {
  const NOW = 1_767_227_400;
  const COOKIE = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]);
  const stamp = (unix: number): Buffer => bytes(big((Math.floor(unix) + 2_208_988_800) % 2 ** 32, 4), big((unix % 1) * 2 ** 32, 4));
  const answer = ({ flags = 0x24, stratum = 2, delay = 0, dispersion = 0, originate = COOKIE, time = NOW }): Buffer =>
    bytes(flags, stratum, 6, 0xec, big(delay, 4), big(dispersion, 4), 'GPS\0', stamp(time), originate, stamp(time), stamp(time));

  test('the first answer sets the clock', () => expect(feed('NTP', answer({ time: NOW + 3600.25 }))).toEqual(['step 3600.250']));
  test('into the past as well', () => expect(feed('NTP', answer({ time: NOW - 10.5 }))).toEqual(['step -11.500']));
  test('and beyond 2036', () => expect(feed('NTP', answer({ time: 2_100_000_000 }))).toEqual([`step ${2_100_000_000 - NOW}.000`]));
  test.each([
    ["another question's", answer({ originate: Buffer.alloc(8, 9) })],
    ["a client's", answer({ flags: 0x23 })],
    ['one of a clock that is not set', answer({ flags: 0xe4 })],
    ["a kiss-o'-death", answer({ stratum: 0 })],
    ['one of no stratum', answer({ stratum: 16 })],
    ['one that is far from its source', answer({ delay: 20 << 16 })],
    ['one that is not sure', answer({ dispersion: 20 << 16 })],
    ['one from before the machine was made', answer({ time: 1_000_000_000 })],
    ['one that is too short', answer({}).subarray(0, 47)],
  ])('%s is not taken', (_, packet) => expect(feed('NTP', packet)).toEqual(['not taken']));
  test('a good clock is slewed, and asked for the less often', () => {
    expect(feed('NTP', answer({ time: NOW + 0.005 }), 'live')).toEqual([
      ...['step 0.005', 'next in 128'],
      ...['slew 5000 us, constant 3', 'next in 256'],
      ...['slew 5000 us, constant 4', 'next in 512'],
      ...['slew 5000 us, constant 5', 'next in 1024'],
      ...Array<string[]>(3).fill(['slew 5000 us, constant 6', 'next in 1024']).flat(),
    ]);
  });
  test('a clock that is far off later is believed at the third time', () => {
    const votes = Array<string>(2).fill('next in 64');
    expect(feed('NTP', answer({ time: NOW + 3600.25 }), 'live')).toEqual([
      ...['step 3600.250', 'next in 64'],
      ...[...votes, 'step 3600.250', 'next in 64'],
      ...[...votes, 'step 3600.250', 'next in 64'],
    ]);
  });
  test('damaged packets', () => survives('NTP', answer({})));
});

describe("cloud-init's network-config", () => {
  const read = (text: string): string[] => feed('NETCONFIG', Buffer.from(text));
  // Written as cloud-init's documentation has them.
  const TWO = `network:
  version: 2
  ethernets:
    # The first card.
    outside:
      match: {macaddress: '52:54:00:AA:00:01'}
      set-name: eth0
      dhcp4: true
      dhcp6: yes
      mtu: 1400
    eth1:
      addresses:
        - 10.10.0.2/24
        - "2001:db8:10::2/64"
      gateway4: 10.10.0.1
      gateway6: 2001:db8:10::1
      nameservers:
        search: [lab.test, home.test]
        addresses: [10.10.0.53, 2001:db8:10::53]
      routes:
        - to: 10.20.0.0/16
          via: 10.10.0.9
          metric: 50
        - to: default
          via: 10.10.0.8
    eth2: {dhcp4: true, optional: true}
`;
  const ONE = `version: 1
config:
    - type: physical
      name: eth0
      mac_address: '52:54:00:aa:00:01'
      subnets:
      - type: static
        address: '192.168.1.10'
        netmask: '255.255.255.0'
        gateway: '192.168.1.1'
        routes:
        - network: 10.0.0.0
          netmask: 255.0.0.0
          gateway: 192.168.1.9
      - type: static6
        address: '2001:db8::10/64'
        gateway: '2001:db8::1'
    - type: physical
      name: eth1
      subnets:
        - type: dhcp4
        - type: ipv6_slaac
    - type: nameserver
      address:
      - '192.168.1.53'
      search:
      - 'lab.test'
`;

  test('version 2', () => {
    expect(read(TWO)).toEqual([
      'card eth0 52:54:00:aa:00:01 dhcp ipv6',
      'mtu 1400',
      'card eth1 -',
      'address 10.10.0.2/24',
      'address 2001:db8:10::2/64',
      'route 10.20.0.0/16 via 10.10.0.9 metric 50',
      'route default via 10.10.0.8 metric 0',
      'route default via 10.10.0.1 metric 0',
      'route default via 2001:db8:10::1 metric 0',
      'card eth2 - dhcp optional',
      'dns 10.10.0.53',
      'dns 2001:db8:10::53',
      'search lab.test home.test',
    ]);
  });
  test('version 1', () => {
    expect(read(ONE)).toEqual([
      'card eth0 52:54:00:aa:00:01',
      'address 192.168.1.10/24',
      'address 2001:db8::10/64',
      'route default via 192.168.1.1 metric 0',
      'route default via 2001:db8::1 metric 0',
      'route 10.0.0.0/8 via 192.168.1.9 metric 0',
      'card eth1 - dhcp ipv6',
      'dns 192.168.1.53',
      'search lab.test',
    ]);
  });
  test('line ends of Windows, a document mark, comments', () =>
    expect(read('# one\r\n---\r\nversion: 2 # two\r\nethernets:\r\n  eth0: # three\r\n    dhcp4: true\r\n')).toEqual(['card eth0 - dhcp']));

  test.each([
    ['nothing', '', /version 1 or 2/],
    ['another version', 'version: 3\n', /version 1 or 2/],
    ['a bond', 'version: 2\nbonds:\n  bond0:\n    interfaces: [eth0]\n', /not known here: bonds/],
    ['a VLAN of version 1', 'version: 1\nconfig:\n- type: vlan\n  name: v\n', /type not known here: vlan/],
    ['a key that is not known', 'version: 2\nethernets:\n  eth0:\n    dhcp4: true\n    colour: red\n', /not known here: colour/],
    ['no address', 'version: 2\nethernets:\n  eth0:\n    addresses: [10.0.0.2]\n', /no address: 10.0.0.2/],
    ['an address of 33 bits', 'version: 2\nethernets:\n  eth0:\n    addresses: [10.0.0.2/33]\n', /no address/],
    ['no gateway', 'version: 2\nethernets:\n  eth0:\n    gateway4: x\n', /no gateway: x/],
    ['a card by a pattern', 'version: 2\nethernets:\n  a:\n    match: {name: "en*"}\n    dhcp4: true\n', /whole name/],
    ['a domain with a blank', 'version: 2\nethernets:\n  eth0:\n    nameservers: {search: ["a b"]}\n', /no domain/],
    ['nine cards', `version: 2\nethernets:\n${[...'123456789'].map((n) => `  eth${n}: {dhcp4: true}\n`).join('')}`, /too many cards/],
    ['a tab', 'version: 2\n\tethernets:\n', /line 2: a tab in front/],
    ['an anchor', 'version: 2\nethernets: &a\n', /line 2: what is not known here/],
    ['a block scalar', 'version: 2\nrenderer: |\n  x\n', /line 2: what is not known here/],
    ['a second document', 'version: 2\n---\nversion: 2\n', /line 2: a second document/],
    ['brackets over lines', 'version: 2\nethernets: {eth0:\n {dhcp4: true}}\n', /line 2/],
    ['a value over lines', 'version: 2\nrenderer: a\n  b\n', /line 3: a value of several lines/],
    ['an escape', 'version: 2\nrenderer: "a\\n"\n', /line 2: an escape/],
    ['quotes without an end', "version: 2\nrenderer: 'a\n", /line 2: quotes without an end/],
    ['an indentation of no use', 'version: 2\nethernets:\n    eth0:\n      dhcp4: true\n  eth1:\n', /indentation that fits nothing/],
    ['a line without a key', 'version: 2\nnonsense\n', /line 2: a line without a key/],
    ['brackets in brackets without end', `version: 2\nethernets: ${'['.repeat(100)}\n`, /line 2: too deep/],
  ])('%s is refused', (_, text, message) => expect(read(text)).toEqual([expect.stringMatching(new RegExp(`^refused: .*${message.source}`))]));
  test.each([
    ['version 2', TWO],
    ['version 1', ONE],
  ])('damaged texts, %s', (_, text) => survives('NETCONFIG', Buffer.from(text)));
});
