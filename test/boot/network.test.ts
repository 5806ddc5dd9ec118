// SPDX-License-Identifier: MIT
/** The guest's addresses: those it is told, those it asks for, none. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { runGuest } from './harness.js';

const server = createServer((socket) => socket.end('hello from the host\n'));
beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
afterAll(() => void server.close());

/** What the guest has: its routes (in hex, as /proc/net/route has them), and who answers behind the gateway. */
const show = (): string => `
while read -r interface to gateway _ _ _ _ mask _; do echo "$interface $to $gateway $mask"; done < /proc/net/route
while read -r words; do [[ $words == *10.0.2.15 ]] && echo "address" && break; done < /proc/net/fib_trie
[ -e /etc/resolv.conf ] && echo "$(< /etc/resolv.conf)"
{ read -r line && echo "$line"; } < /dev/tcp/10.0.2.2/${(server.address() as AddressInfo).port}
exit 0`;

const WITH_ADDRESS = [
  'Iface Destination Gateway Mask',
  'eth0 00000000 0202000A 00000000',
  'eth0 0002000A 00000000 00FFFFFF',
  'address',
  'nameserver 10.0.2.3',
  'hello from the host',
  '',
].join('\n');

test.each([
  { how: 'as told', options: {} },
  { how: 'from DHCP', options: { network: 'dhcp' } },
] as const)('address, mask, gateway and name server, $how', async ({ options }) => {
  const { stdout, stderr } = await runGuest('/bin/bash', { ...options, args: ['-c', show()] });
  expect(stdout, stderr).toBe(WITH_ADDRESS);
});

test('none', async () => {
  const { stdout, stderr } = await runGuest('/bin/bash', { network: 'none', args: ['-c', show()] });
  expect(stdout).toBe('Iface Destination Gateway Mask\n');
  expect(stderr).toMatch(/Network is unreachable/);
});

test("a resolv.conf of the image's own stays", async () => {
  const file = join(projectRoot, 'biome.json');
  const { stdout } = await runGuest('/bin/bash', { files: [`${file}:/etc/resolv.conf`], args: ['-c', 'echo "$(< /etc/resolv.conf)"'] });
  expect(stdout).toBe(await readFile(file, 'utf8'));
});

// A container may not have the device that makes them.
describe.skipIf(!existsSync('/dev/net/tun'))('a TAP device, in a network of its own', () => {
  const space = `ukl-test-${process.pid}`;
  const inside = (...words: readonly [string, ...string[]]): Promise<string> => exec('ip', ['netns', 'exec', space, ...words]);
  beforeAll(async () => {
    await exec('ip', ['netns', 'add', space]);
    await inside('ip', 'tuntap', 'add', 'tap0', 'mode', 'tap');
    await inside('ip', 'addr', 'add', '10.9.0.1/24', 'dev', 'tap0');
    await inside('ip', 'link', 'set', 'tap0', 'up');
  });
  afterAll(async () => {
    await exec('ip', ['netns', 'del', space]);
  });

  test.each([[[]], [['--express']]])('a guest with an address of its own answers: %j', async (options) => {
    const words = [join(projectRoot, 'ukl'), 'run', 'examples/http', '--net', 'tap:tap0', '--network', '10.9.0.2/24', '--quiet', ...options];
    const guest = spawn('ip', ['netns', 'exec', space, ...words], { cwd: projectRoot, stdio: 'ignore' });
    const ended = once(guest, 'exit');
    try {
      // curl tries again while nobody answers.
      const answer = await inside('curl', '-s', '--retry', '100', '--retry-delay', '1', '--retry-all-errors', '--max-time', '5', 'http://10.9.0.2/');
      expect(answer).toBe('Hello, world');
    } finally {
      guest.kill('SIGTERM');
      await ended;
    }
  });
});

test.each([
  [{ net: 'tap:nothere' }, 'there is no TAP device nothere here'],
  [{ net: 'bridge:nothere' }, 'there is no bridge nothere here'],
  [{ net: 'tap:lo' }, 'there is no TAP device lo here'],
  [{ net: 'none', ports: ['0:80'] }, 'ports of this host lead to the guest in the user network only'],
  [{ network: '10.0.0.300/24' }, "'10.0.0.300/24' is no way to get addresses"],
  [{ network: ['dhcp', 'dhcp'] }, '2 --network for 1 --net'],
  [{ net: 'none', network: 'dhcp' }, '--network dhcp is for an interface, and the guest has none there'],
  [{ network: 'eth1=dhcp' }, "'eth1=dhcp' names an interface, which has its place by --net"],
  [{ network: '10.0.0.3/33' }, "'10.0.0.3/33' is no way to get addresses"],
])('refused before anything starts: %j', async (options, message) => {
  await expect(runGuest('/bin/true', options)).rejects.toThrow(message);
});

test('two user networks, each with addresses of its own', async () => {
  const routes = 'while read -r name to gateway _; do echo "$name $to $gateway"; done < /proc/net/route; echo /sys/class/net/e*';
  const { stdout, stderr } = await runGuest('/bin/bash', { net: ['user', 'user'], args: ['-c', routes] });
  expect(stdout, stderr).toBe(
    [
      'Iface Destination Gateway',
      'eth0 00000000 0202000A',
      'eth1 00000000 0203000A',
      'eth0 0002000A 00000000',
      'eth1 0003000A 00000000',
      '/sys/class/net/eth0 /sys/class/net/eth1',
      '',
    ].join('\n'),
  );
});

test('no interface at all', async () => {
  const { stdout } = await runGuest('/bin/bash', { net: 'none', args: ['-c', 'echo /sys/class/net/*'] });
  expect(stdout).toBe('/sys/class/net/lo\n');
});
