// SPDX-License-Identifier: MIT
/**
 * Firecracker and Cloud Hypervisor cannot be had here. What stands in for them checks
 * the words by their published descriptions and boots the same payload on the
 * nearest machine of QEMU's: a microVM without PCI and ACPI, by the PVH entry.
 */
import { chmod, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { host, ukl } from './harness.js';

/** Common to both: QEMU with what was understood. */
const BOOT = `
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
const khz = Math.round(Number(/^bogomips\\s*: ([\\d.]+)/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))[1]) * 500);
export function boot({ kernel, cmdline, cpus, memory, disks }) {
  const { status } = spawnSync('qemu-system-x86_64', [
    '-M', 'microvm,acpi=off,rtc=on', '-accel', 'tcg', '-cpu', 'max', '-global', 'virtio-mmio.force-legacy=false',
    '-m', String(memory), '-smp', String(cpus), '-nodefaults', '-no-reboot', '-display', 'none', '-serial', 'stdio',
    '-kernel', kernel, '-append', cmdline + ' tsc_early_khz=' + khz,
    ...disks.flatMap((file, index) => ['-drive', 'if=none,format=raw,id=d' + index + ',file=' + file, '-device', 'virtio-blk-device,drive=d' + index]),
  ], { stdio: ['ignore', 'inherit', 'inherit'] });
  process.exit(status ?? 1);
}
`;

/** Keys and types of firecracker.yaml: BootSource, Drive, MachineConfiguration, NetworkInterface, EntropyDevice. */
const FIRECRACKER = `#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { boot } from './boot.mjs';
const [api, flag, file] = process.argv.slice(2);
const refuse = (why) => { console.error(why); process.exit(153); };
if (api !== '--no-api' || flag !== '--config-file') refuse('Invalid arguments');
const config = JSON.parse(readFileSync(file, 'utf8'));
const SHAPES = {
  'boot-source': { kernel_image_path: 'string', initrd_path: 'string?', boot_args: 'string?' },
  drives: [{ drive_id: 'string', path_on_host: 'string?', is_root_device: 'boolean', is_read_only: 'boolean?' }],
  'machine-config': { vcpu_count: 'number', mem_size_mib: 'number', smt: 'boolean?' },
  'network-interfaces': [{ iface_id: 'string', host_dev_name: 'string', guest_mac: 'string?' }],
  entropy: {},
};
const check = (value, shape, where) => {
  if (Array.isArray(shape)) return Array.isArray(value) ? value.forEach((one) => check(one, shape[0], where)) : refuse(where + ' is no list');
  for (const key of Object.keys(value)) if (!(key in shape)) refuse('unknown field ' + where + '.' + key);
  for (const [key, type] of Object.entries(shape)) {
    if (typeof type !== 'string') check(value[key], type, where + '.' + key);
    else if (value[key] === undefined ? !type.endsWith('?') : typeof value[key] !== type.replace('?', '')) refuse('wrong ' + where + '.' + key);
  }
};
for (const [key, value] of Object.entries(config)) key in SHAPES ? check(value, SHAPES[key], key) : refuse('unknown field ' + key);
boot({
  kernel: config['boot-source'].kernel_image_path, cmdline: config['boot-source'].boot_args,
  cpus: config['machine-config'].vcpu_count, memory: config['machine-config'].mem_size_mib, disks: config.drives.map((drive) => drive.path_on_host),
});
`;

const CLOUD_HYPERVISOR = `#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { boot } from './boot.mjs';
const text = { type: 'string' };
const { values } = parseArgs({ options: { kernel: text, cmdline: text, initramfs: text, cpus: text, memory: text, serial: text, console: text, rng: text, disk: text, net: text } });
if (values.serial !== 'tty' || values.console !== 'off') process.exit(1);
boot({
  kernel: values.kernel, cmdline: values.cmdline, cpus: Number(/^boot=(\\d+)$/.exec(values.cpus)[1]),
  memory: Number(/^size=(\\d+)M$/.exec(values.memory)[1]), disks: values.disk === undefined ? [] : [/^path=(.*)$/.exec(values.disk)[1]],
});
`;

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-vmms-'));
  await writeFile(join(work, 'package.json'), '{ "type": "module" }');
  await writeFile(join(work, 'boot.mjs'), BOOT);
  for (const [name, text] of [
    ['firecracker', FIRECRACKER],
    ['cloud-hypervisor', CLOUD_HYPERVISOR],
  ] as const) {
    await writeFile(join(work, name), text);
    await chmod(join(work, name), 0o755);
  }
  await writeFile(
    join(work, 'ukl.config.json'),
    JSON.stringify({
      name: 'count',
      program: '/bin/dash',
      args: ['-c', 'read n < /data/n; n=$((n+1)); echo $n > /data/n; echo "run $n"; exit 7'],
      data: ['LABEL=data:/data:ext4'],
    }),
  );
  await writeFile(join(work, 'disk'), '');
  await truncate(join(work, 'disk'), 64 * 2 ** 20);
});
afterAll(() => rm(work, { recursive: true, force: true }));

const run = (vmm: string, ...words: readonly string[]): ReturnType<typeof host> =>
  host(ukl, ['run', work, '--vmm', vmm, '--quiet', ...words], { PATH: `${work}:${process.env.PATH ?? ''}` });

describe.each(['firecracker', 'cloud-hypervisor'])('%s', (vmm) => {
  test("starts a guest with a disk; the console's words and the status arrive", async () => {
    const before = vmm === 'firecracker' ? 0 : 1;
    const { stdout, stderr, code } = await run(vmm, '--attach', join(work, 'disk'), '-c', '2');
    expect(stdout, stderr).toContain(`run ${before + 1}\r\n`);
    expect(code, stderr).toBe(7);
  });

  test.each([
    [['--accel', 'tcg'], 'has no emulation'],
    [['-p', '0:80'], 'cannot forward a port'],
    [['--icount'], 'cannot count instructions'],
    [['--cpu', 'EPYC'], 'is not told of a processor'],
    [['-e', 'A=b'], 'cannot tell the guest arguments or variables'],
    [['--machine', 'q35'], 'cannot be a q35'],
    [['--volume', '/tmp:/v'], 'cannot share a directory'],
  ])('%j is refused before it starts', async (words, message) => {
    const { stderr, code } = await run(vmm, ...words);
    expect(stderr).toContain(message);
    expect(code).not.toBe(0);
  });
});

test('a VMM that is not here is named, with where it comes from', async () => {
  const { stderr, code } = await host(ukl, ['run', work, '--vmm', 'firecracker', '--quiet']);
  expect(stderr).toContain('firecracker');
  expect(stderr).toContain('github.com/firecracker-microvm');
  expect(code).not.toBe(0);
});

test('addresses without an interface are refused before it starts', async () => {
  const { stderr } = await run('firecracker', '--network', '10.9.0.2/24,10.9.0.1', '--dry-run');
  expect(stderr).toContain('--network 10.9.0.2/24,10.9.0.1 is for an interface, and the guest has none there');
  expect(await readFile(join(work, 'firecracker'), 'utf8')).toBe(FIRECRACKER);
});
