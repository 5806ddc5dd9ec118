// SPDX-License-Identifier: MIT
/**
 * What clouds tell a machine, and what its watchdog does: a stand-in for each one's metadata service, at its
 * address in QEMU's user network, and a disk of cloud-init's.
 * `npx tsx test/machines/clouds.ts`.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { makeScratch } from '../../src/lib/scratch.js';
import { build, createLog } from '../../src/sdk/index.js';
import { bareQemu } from '../boot/harness.js';

const USER_DATA = '#ukl\n# a comment\nenv GREETING=hello from the cloud\narg one\narg two words\n';

/** One connection on standard input and output, as the clouds answer; with HANG=1, never. */
const SERVICE = `
import { readSync, writeSync } from 'node:fs';
const [cloud] = process.argv.slice(2);
if (cloud === 'hang') await new Promise((done) => setTimeout(done, 600_000));
let head = '';
const byte = Buffer.alloc(4096);
while (!head.includes('\\r\\n\\r\\n')) { const n = readSync(0, byte); if (n === 0) process.exit(1); head += byte.toString('latin1', 0, n); }
const [method, path] = head.split(' ');
const has = (header) => head.toLowerCase().includes('\\r\\n' + header.toLowerCase() + '\\r\\n');
const data = ${JSON.stringify(USER_DATA)};
const ANSWERS = {
  ec2: {
    'PUT /latest/api/token': () => (head.includes('X-aws-ec2-metadata-token-ttl-seconds: ') ? 'secret' : undefined),
    'GET /latest/meta-data/local-hostname': () => (has('X-aws-ec2-metadata-token: secret') ? 'web-1.eu-central-1.compute.internal' : undefined),
    'GET /latest/user-data': () => (has('X-aws-ec2-metadata-token: secret') ? data : undefined),
  },
  gce: {
    'GET /computeMetadata/v1/instance/hostname': () => (has('Metadata-Flavor: Google') ? 'web-1.c.project.internal' : undefined),
    'GET /computeMetadata/v1/instance/attributes/user-data': () => (has('Metadata-Flavor: Google') ? data : undefined),
  },
  azure: {
    'GET /metadata/instance/compute/name?api-version=2021-02-01&format=text': () => (has('Metadata: true') ? 'web-1' : undefined),
    'GET /metadata/instance/compute/userData?api-version=2021-02-01&format=text': () => (has('Metadata: true') ? Buffer.from(data).toString('base64') : undefined),
  },
};
const body = ANSWERS[cloud]?.[method + ' ' + path]?.();
writeSync(1, body === undefined ? 'HTTP/1.1 404 Not Found\\r\\nConnection: close\\r\\n\\r\\n' : 'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\n' + body);
`;

const SMBIOS: Readonly<Record<string, readonly string[]>> = {
  ec2: ['-smbios', 'type=1,manufacturer=Amazon EC2'],
  gce: ['-smbios', 'type=1,manufacturer=Google,product=Google Compute Engine'],
  azure: ['-smbios', 'type=3,asset=7783-7084-3265-9085-8269-3286-77'],
};

const log = createLog();
let failed = 0;
let passed = 0;
function expectAll(what: string, text: string, words: readonly string[]): void {
  const missing = words.filter((word) => !text.includes(word));
  if (missing.length === 0) passed++;
  else failed++;
  log.info(`${missing.length === 0 ? 'as wanted' : `NOT AS WANTED, without ${missing.join('; ')}`}: ${what}`);
  if (missing.length > 0) console.error(text.split('\n').slice(-30).join('\n'));
}

await using scratch = await makeScratch('clouds');
const script = join(scratch.path, 'script');
await writeFile(script, 'echo "host $(hostname), $GREETING, $# arguments: $1, $2"\n');
const disk = join(scratch.path, 'disk');
await build({ name: 'web', program: '/bin/dash', args: ['/script'], files: ['/usr/bin/hostname', `${script}:/script`] }, { log, container: 'disk', out: disk });

const service = join(scratch.path, 'service.mjs');
await writeFile(service, SERVICE);
const words = (image: string, network: string, more: readonly string[]): readonly string[] => [
  ...['-m', '512', '-drive', `if=virtio,format=raw,snapshot=on,file=${image}`],
  ...['-netdev', `user,id=n,${network}`, '-device', 'e1000e,netdev=n,romfile='],
  ...more,
];
const LINK_LOCAL = 'net=169.254.0.0/16,host=169.254.0.2,dhcpstart=169.254.1.1,dns=169.254.0.3';
const forward = (cloud: string): string => `${LINK_LOCAL},guestfwd=tcp:169.254.169.254:80-cmd:${process.execPath} ${service} ${cloud}`;
const SAYS = 'host web-1, hello from the cloud, 2 arguments: one, two words';

for (const [cloud, smbios] of Object.entries(SMBIOS)) {
  const { stdout } = await bareQemu(180, 'q35', words(disk, forward(cloud), smbios));
  expectAll(`${cloud}: name, variables, arguments; its address by DHCP`, stdout, [SAYS, 'web-1: 169.254.1.1 on eth0']);
}
const { stdout: late } = await bareQemu(180, 'q35', words(disk, forward('hang'), SMBIOS.gce ?? []));
expectAll('a service that hangs is left', late, ['the metadata service does not answer', 'host web, ']);
const { stdout: none } = await bareQemu(180, 'q35', words(disk, LINK_LOCAL, []));
expectAll('without a cloud, nobody is asked', none, ['host web, ']);

const seed = join(scratch.path, 'seed');
await exec('mkdir', [seed]);
await writeFile(join(seed, 'meta-data'), 'instance-id: i-1\nlocal-hostname: seeded\n');
await writeFile(join(seed, 'user-data'), USER_DATA);
const iso = join(scratch.path, 'seed.iso');
await exec('xorriso', ['-as', 'mkisofs', '-quiet', '-V', 'cidata', '-J', '-r', '-o', iso, seed]);
const { stdout: seeded } = await bareQemu(180, 'q35', words(disk, LINK_LOCAL, ['-cdrom', iso]));
expectAll('NoCloud, on a CD', seeded, ['host seeded, hello from the cloud, 2 arguments: one, two words']);

// The network as the disk has it: by MAC, with a new name, in place of DHCP; and user data in place of the arguments.
const NETWORK = `network:
  version: 2
  ethernets:
    outside:
      match: {macaddress: '52:54:00:00:00:01'}
      set-name: outside
      addresses: [169.254.7.7/16, '2001:db8::7/64']
      nameservers: {addresses: [169.254.0.3], search: [lab.test]}
`;
const REPLACED = '#ukl\nenv GREETING=hello from the disk\nargs /script three\narg four words\n';
async function seedWith(files: Readonly<Record<string, string>>): Promise<string> {
  for (const [name, text] of Object.entries(files)) await writeFile(join(seed, name), text);
  await exec('xorriso', ['-as', 'mkisofs', '-quiet', '-V', 'cidata', '-J', '-r', '-o', iso, seed]);
  return iso;
}
const twoCards = (image: string): readonly string[] =>
  words(image, LINK_LOCAL, ['-netdev', 'user,id=m,net=10.0.3.0/24', '-device', 'e1000e,netdev=m,romfile=,mac=52:54:00:00:00:01', '-cdrom', iso]);
await seedWith({ 'network-config': NETWORK, 'user-data': REPLACED });
const { stdout: configured } = await bareQemu(180, 'q35', twoCards(disk));
expectAll("NoCloud's network-config: a card by its MAC, with a name and addresses", configured, [
  'seeded: 169.254.7.7 on outside',
  'seeded: 2001:db8::7 on outside',
  'host seeded, hello from the disk, 2 arguments: three, four words',
]);
expectAll('and no other card', configured.includes(' on eth') ? 'another card' : 'one card', ['one card']);
await seedWith({ 'network-config': 'version: 2\nbonds:\n  bond0: {interfaces: [eth0]}\n' });
const { stdout: refused } = await bareQemu(180, 'q35', twoCards(disk));
expectAll("what init does not know of it is said, and the image's own network is used", refused, [
  "init: network-config: not known here: bonds: the image's own network is used",
  ': 169.254.1.1 on eth0',
]);

// A kernel that hangs: the watchdog resets the machine, and QEMU then ends.
const hangs = join(scratch.path, 'hangs');
const fixture = join(projectRoot, 'test/fixtures/hang');
const hanging = { name: 'hang', sources: [join(fixture, 'main.c')], shortcuts: [join(fixture, 'hang.c')], ...{ watchdog: 10 } };
await build(hanging, { log, container: 'disk', out: hangs });
const reset = await bareQemu(120, 'q35', words(hangs, LINK_LOCAL, ['-device', 'i6300esb', '-action', 'watchdog=reset']));
expectAll('a machine that hangs is restarted by its watchdog', `${reset.stdout.replace(/init: (exit|signal)/, 'ended by itself')} status ${reset.code}`, [
  'hang: /app/hang',
  ' status 0',
]);

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
