// SPDX-License-Identifier: MIT
/** Several interfaces, IPv6, DHCPv6, the time and cloud-init's network-config, in a network of its own with dnsmasq. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exec } from '../../src/lib/exec.js';
import { LineSplitter } from '../../src/lib/lines.js';
import { hostTscKhz } from '../../src/run/cmdline.js';
import { build, removeSnapshot } from '../../src/sdk/index.js';
import { QEMU } from '../../src/vmms/qemu/args.js';
import { host, ukl } from './harness.js';

/** Addresses, routes, name servers and MTUs, without what differs each time. */
const SHOW = `
ip -o addr show scope global | while read -r _ name _ address _; do echo "$name $address"; done
ip route show default | while read -r _ _ router _ name _; do echo "default $router $name"; done
ip route show 10.77.0.0/16 | while read -r to _ router _; do echo "$to $router"; done
ip -6 route show default | while read -r _ _ router _ name _; do echo "default6 \${router%%::*} $name"; done
[ -e /etc/resolv.conf ] && echo "$(< /etc/resolv.conf)"
for name in /sys/class/net/[!l]*; do echo "\${name##*/} mtu $(< $name/mtu)"; done
exit 0`;

/** A time server, of that. */
const TIME_SERVER = `
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (question, { address, port }) => {
  const now = Date.now() / 1000 + 172_800 + 2_208_988_800;
  const answer = Buffer.alloc(48);
  answer.set([0x24, 2, 6, 0xec]);
  question.copy(answer, 24, 40, 48);
  for (const at of [16, 32, 40]) answer.writeUInt32BE(Math.floor(now), at);
  socket.send(answer, port, address);
});
socket.bind(123, '10.9.0.1', () => console.error('started'));
`;

const sorted = (text: string): string[] => text.trim().split(/\r?\n/).sort();

// A container may not have the device that makes them.
describe.skipIf(!existsSync('/dev/net/tun'))('a network of its own', () => {
  const space = `ukl-addresses-${process.pid}`;
  const inside = (...words: readonly string[]): readonly [string, string[]] => ['ip', ['netns', 'exec', space, ...words]];
  let work: string;
  let image: string;
  beforeAll(async () => {
    await exec('ip', ['netns', 'add', space]);
    // What advertises itself as a router must say so when it is asked for its address as well, or routes by it are dropped (RFC 4861, 7.2.5).
    await exec(...inside('sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'));
    for (const [index, name] of ['tap0', 'tap1'].entries()) {
      await exec(...inside('ip', 'tuntap', 'add', name, 'mode', 'tap'));
      await exec(...inside('ip', 'addr', 'add', `10.${9 + index}.0.1/24`, 'dev', name));
      await exec(...inside('ip', 'addr', 'add', `2001:db8:${9 + index}::1/64`, 'dev', name, 'nodad'));
      await exec(...inside('ip', 'link', 'set', name, 'up'));
    }
    work = await mkdtemp(join(tmpdir(), 'ukl-addresses-'));
    image = join(work, 'image');
    await writeFile(join(work, 'show'), SHOW);
    const files = ['/usr/sbin/ip', `${join(work, 'show')}:/show`];
    await build({ name: 'web', program: '/bin/bash', args: ['/show'], files, ring: 3 }, { out: image });
  });
  afterAll(async () => {
    await exec('ip', ['netns', 'del', space]);
    await rm(work, { recursive: true, force: true });
  });

  /** A server in the network, from when it says that it has started to the end of the block. */
  async function serve(...words: readonly string[]): Promise<AsyncDisposable & { readonly said: readonly string[] }> {
    const child: ChildProcess = spawn(...inside(...words), { stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = once(child, 'exit');
    const lines = new LineSplitter();
    const said: string[] = [];
    await new Promise<void>((resolve, reject) => {
      void ended.then(() => reject(new Error(`${words[0]} has ended: ${said.join('\n')}`)));
      child.stderr?.on('data', (chunk: Buffer) => {
        said.push(...lines.push(chunk));
        if (said.some((line) => line.includes('started'))) resolve();
      });
    });
    return {
      said,
      [Symbol.asyncDispose]: async () => {
        child.kill();
        await ended;
      },
    };
  }
  const dnsmasq = (...words: readonly string[]): ReturnType<typeof serve> =>
    serve(
      ...['dnsmasq', '--no-daemon', '--conf-file=/dev/null', '--user=root', '--log-dhcp', '--leasefile-ro', '--no-ping'],
      ...['--interface=tap0', '--bind-interfaces', '--enable-ra', ...words],
    );
  const FOUR = [
    ...['--dhcp-range=10.9.0.50,10.9.0.50,1h', '--dhcp-option=option:classless-static-route,10.77.0.0/16,10.9.0.3,0.0.0.0/0,10.9.0.1'],
    ...['--dhcp-option=option:mtu,1400', '--dhcp-option=option:domain-search,a.test,b.a.test', '--dhcp-option=option:dns-server,10.9.0.53'],
    '--dhcp-option=option:ntp-server,10.9.0.1',
  ];
  const STATEFUL = '--dhcp-range=2001:db8:9::100,2001:db8:9::100,64,1h';
  const STATELESS = '--dhcp-range=2001:db8:9::,ra-stateless';
  const SIX = ['--port=0', '--dhcp-option=option6:dns-server,[2001:db8:9::53]', '--dhcp-option=option6:domain-search,six.test'];

  const run = (...words: readonly string[]): ReturnType<typeof host> => host(...inside(ukl, 'run', image, '--timeout', '120', '--quiet', ...words));

  test('two interfaces: one by DHCP and DHCPv6, one with addresses of both kinds', async () => {
    await using server = await dnsmasq(...FOUR, STATEFUL, ...SIX);
    const words = ['--net', 'tap:tap0', '--network', 'dhcp,ipv6', '--net', 'tap:tap1', '--network', '10.10.0.2/24,,10.10.0.53,2001:db8:10::2/64'];
    const { stdout, stderr } = await run(...words);
    expect(sorted(stdout), stderr).toEqual([
      '10.77.0.0/16 10.9.0.3',
      'default 10.9.0.1 eth0',
      'default6 fe80 eth0',
      'eth0 10.9.0.50/24',
      'eth0 2001:db8:9::100/128',
      'eth0 mtu 1400',
      'eth1 10.10.0.2/24',
      'eth1 2001:db8:10::2/64',
      'eth1 mtu 1500',
      'nameserver 10.10.0.53',
      'nameserver 10.9.0.53',
      'nameserver 2001:db8:9::53',
      expect.stringMatching(/^search (a\.test b\.a\.test six\.test|six\.test a\.test b\.a\.test)$/),
    ]);
    expect(server.said.join('\n')).toContain('DHCPREPLY(tap0) 2001:db8:9::100');
  });

  test('without DHCP, a router is enough; it has the rest asked for', async () => {
    await using server = await dnsmasq(STATELESS, ...SIX);
    const { stdout, stderr } = await run('--net', 'tap:tap0', '--network', 'dhcp');
    expect(sorted(stdout), stderr).toEqual([
      'default6 fe80 eth0',
      expect.stringMatching(/^eth0 2001:db8:9:0:5054:ff:fe[\da-f:]+\/64$/),
      'eth0 mtu 1500',
      'nameserver 2001:db8:9::53',
      'search six.test',
    ]);
    expect(server.said.join('\n')).toMatch(/DHCPINFORMATION-REQUEST/);
  });

  test('a clone asks for addresses of its own, by a hardware address of its own', async () => {
    const range = ['--dhcp-range=10.9.0.50,10.9.0.99,1h', '--dhcp-range=2001:db8:9::100,2001:db8:9::1ff,64,1h', ...SIX];
    await using server = await dnsmasq(...range);
    const name = `test-${process.pid}-dhcp`;
    const script = `addresses() { ip -o addr show dev eth0 scope global | while read -r _ _ _ address _; do echo "address $address"; done; }
saved=$(< /sys/class/net/eth0/address)
echo > /.ukl/ready; read -r < /.ukl/go
until [[ $(addresses) == *.*:* ]]; do read -rt 0.1 <> /.ukl/go; done
echo "saved $saved"; echo "mac $(< /sys/class/net/eth0/address)"; addresses; exit 0`;
    const words = ['--timeout', '120', '--quiet', '--net', 'tap:tap0'];
    const save = await host(...inside(ukl, 'snapshot', 'save', image, '--name', name, '--network', 'dhcp,ipv6', ...words, '--', '-c', script));
    expect(save.code, save.stderr).toBe(0);
    try {
      const { stdout, stderr } = await host(...inside(ukl, 'run', '--from-snapshot', name, ...words));
      const all = stdout.trim().split('\n');
      const its = (word: string): string[] => all.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
      const [mac] = its('mac');
      expect(mac, stderr).toMatch(/^52:54:00:/);
      expect(its('saved')[0]).toMatch(/^52:54:00:/);
      expect(mac).not.toBe(its('saved')[0]);
      const given = server.said.flatMap((line) => /DHCPACK\(tap0\) ([\d.]+) (\S+)/.exec(line)?.slice(1, 3).join(' ') ?? []);
      expect(given).toContain(`${its('address')[0]?.replace(/\/.*/, '')} ${mac}`);
      const six = its('address')
        .find((address) => address.startsWith('2001:db8:9::1'))
        ?.replace(/\/.*/, '');
      // A DUID of the kind 3 has the hardware address (RFC 8415, 11.4).
      expect(server.said.join('\n')).toMatch(new RegExp(`DHCPREPLY\\(tap0\\) ${six} 00:03:00:01:${mac}`));
    } finally {
      await removeSnapshot(name);
    }
  });

  test('a machine on its own: interfaces by their MACs, the time of a server by name', async () => {
    const own = join(work, 'own');
    const today = Math.floor(Date.now() / 86_400_000);
    await writeFile(join(work, 'own-show'), `until ((EPOCHSECONDS / 86400 >= ${today + 2})); do :; done; echo "two days on"\n${SHOW}`);
    await build(
      {
        ...{ name: 'own', program: '/bin/bash', args: ['/show'], files: ['/usr/sbin/ip', `${join(work, 'own-show')}:/show`], ring: 3 },
        network: ['52:54:00:00:00:02=10.10.0.2/24', '52:54:00:00:00:01=dhcp'],
        ntp: ['time.test'],
      },
      { out: own },
    );
    await using _dhcp = await dnsmasq(
      ...FOUR.filter((word) => !/ntp-server|dns-server/.test(word)),
      '--no-resolv',
      '--no-hosts',
      '--host-record=time.test,10.9.0.1',
    );
    await using _time = await serve(process.execPath, '-e', TIME_SERVER);
    const { stdout } = await host(
      ...inside(
        ...['timeout', '120', QEMU, '-M', 'microvm,rtc=on', '-accel', 'tcg', '-cpu', 'max', '-m', '256', '-no-reboot', '-nodefaults', '-display', 'none'],
        ...['-serial', 'stdio', '-global', 'virtio-mmio.force-legacy=false', '-kernel', own],
        // Emulated microVMs have no clock to measure the TSC by.
        ...['-append', `tsc_early_khz=${hostTscKhz(readFileSync('/proc/cpuinfo', 'utf8'))}`],
        ...[1, 2].flatMap((number) => [
          ...['-netdev', `tap,id=n${number},ifname=tap${number - 1},script=no,downscript=no`],
          ...['-device', `virtio-net-device,netdev=n${number},mac=52:54:00:00:00:0${number}`],
        ]),
      ),
    );
    const lines = sorted(stdout);
    expect(lines).toContain('10.77.0.0/16 10.9.0.3');
    expect(lines.filter((line) => /^eth\d [\d.]+\//.test(line)).map((line) => line.slice(5))).toEqual(expect.arrayContaining(['10.9.0.50/24', '10.10.0.2/24']));
    expect(lines).toContain('nameserver 10.9.0.1');
    // The clock chip's day is this one. However late the answer comes, it sets the clock.
    expect(lines).toContain('two days on');
    expect(stdout).toMatch(/init: exit 0/);
  });
});
