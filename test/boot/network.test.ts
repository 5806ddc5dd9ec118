// SPDX-License-Identifier: MIT
/** The guest's addresses: those it is told, those it asks for, none. */
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
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
