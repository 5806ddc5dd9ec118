// SPDX-License-Identifier: MIT
/**
 * Which of the drivers that Debian's kernel has as modules are built into a kernel of the profile `hardware`, and
 * the devices that each says it serves: `npx tsx test/machines/drivers.ts`. Writes docs/notes/drivers.md.
 *
 * Debian's kernel is of the version of our source, so that a driver has the same table of devices in both.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { getDebianPackage } from '../../src/host/debian.js';
import { readOptions } from '../../src/kernels/kconfig.js';
import { getKernelConfig } from '../../src/kernels/kernel.js';
import { kernelSpec } from '../../src/kernels/lines.js';
import { getKernelSource } from '../../src/kernels/source.js';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { createLog } from '../../src/sdk/index.js';

const SOURCE = 'linux-source-6.12';
/** Folders of the kernel's drivers, and what their devices are to a reader. */
const CLASSES: readonly (readonly [folder: string, title: string])[] = [
  ['drivers/net/ethernet', 'network cards'],
  ['drivers/net', 'network of hypervisors'],
  ['drivers/net/usb', 'network by USB'],
  ['drivers/nvme/host', 'NVMe'],
  ['drivers/ata', 'ATA'],
  ['drivers/scsi', 'SCSI'],
  ['drivers/message/fusion', 'SCSI'],
  ['drivers/block', 'other disks'],
  ['drivers/mmc/host', 'SD cards'],
  ['drivers/usb/host', 'USB'],
  ['drivers/usb/storage', 'disks by USB'],
  ['drivers/hid/usbhid', 'keyboards by USB'],
  ['drivers/hv', 'hypervisors'],
];
/** Kinds of aliases that stand for hardware, or for a hypervisor's. */
const BUSES = ['pci', 'virtio', 'vmbus', 'xen', 'usb', 'hid', 'acpi', 'pcmcia', 'platform'] as const;
type Bus = (typeof BUSES)[number];

interface Driver {
  readonly name: string;
  readonly title: string;
  /** Of Kconfig; undefined if no Makefile says. */
  readonly option: string | undefined;
  readonly devices: ReadonlyMap<Bus, number>;
}

/** By module, how many devices of each bus it says it serves: depmod reads what MODULE_DEVICE_TABLE has left in the modules. */
async function readAliases(root: string, release: string): Promise<Map<string, Map<Bus, number>>> {
  const text = await exec('/sbin/depmod', ['--dry-run', '--basedir', root, release], { hint: 'apt install kmod' });
  const all = new Map<string, Map<Bus, number>>();
  for (const [, word = '', name = ''] of text.matchAll(/^alias (\w+):\S+ (\S+)$/gm)) {
    const bus = BUSES.find((one) => one === word);
    if (bus === undefined) continue;
    const devices = all.get(name) ?? new Map<Bus, number>();
    devices.set(bus, (devices.get(bus) ?? 0) + 1);
    all.set(name, devices);
  }
  return all;
}

const plain = (name: string): string => name.replaceAll('-', '_');

/** "obj-$(CONFIG_E1000E) += e1000e.o": the option that a module is built by. */
async function optionsOf(source: string, folder: string): Promise<Map<string, string>> {
  const text = (await readFile(join(source, folder, 'Makefile'), 'utf8').catch(() => '')).replaceAll(/\\\n/g, ' ');
  const options = new Map<string, string>();
  for (const [, option = '', objects = ''] of text.matchAll(/^obj-\$\((CONFIG_\w+)\)\s*[+:]?=(.*)$/gm)) {
    for (const [, name = ''] of objects.matchAll(/([\w-]+)\.o\b/g)) options.set(plain(name), option);
  }
  return options;
}

async function readDrivers(root: string, release: string, source: string): Promise<Driver[]> {
  const aliases = await readAliases(root, release);
  const drivers: Driver[] = [];
  for (const file of await readdir(join(root, 'lib/modules', release, 'kernel'), { recursive: true })) {
    if (!file.endsWith('.ko.xz')) continue;
    const name = plain(basename(file, '.ko.xz'));
    const devices = aliases.get(name);
    const folder = dirname(file);
    const found = CLASSES.filter(([one]) => folder === one || folder.startsWith(`${one}/`)).sort(([a], [b]) => b.length - a.length)[0];
    // Below drivers/net there are radios, tunnels and more: the folder itself has hypervisors' cards.
    if (devices === undefined || found === undefined || (found[0] === 'drivers/net' && !/^drivers\/net(\/(vmxnet3|hyperv))?$/.test(folder))) continue;
    drivers.push({ name, title: found[1], option: (await optionsOf(source, folder)).get(name), devices });
  }
  return drivers.sort((a, b) => a.name.localeCompare(b.name));
}

const countOf = ({ devices }: Driver): string => [...devices].map(([bus, count]) => `${count} ${bus}`).join(', ');

const log = createLog();
const context = { log, signal: undefined };
const version = (await exec('dpkg-query', ['-W', '-f', '${Version}', SOURCE])).trim();
const release = `${version.replace(/-.*$/, '')}+deb12-amd64`;
const { path: root } = await getDebianPackage(`linux-image-${release}-unsigned`, SOURCE, context);
const spec = kernelSpec('ukl', 'hardware');
const { path: source } = await getKernelSource(spec, context);
const ours = readOptions(await getKernelConfig(spec, context));
const drivers = await readDrivers(root, release, source);
const serves = ({ option = '' }: Driver): boolean => ours.get(option) === 'y';
const titles = [...new Set(CLASSES.map(([, title]) => title))].filter((title) => drivers.some((one) => one.title === title));

const summary = titles.map((title) => {
  const all = drivers.filter((one) => one.title === title);
  return `| ${title} | ${all.filter(serves).length} | ${all.length} |`;
});
const served = titles.flatMap((title) =>
  drivers.filter((one) => one.title === title && serves(one)).map((one) => `| ${title} | ${one.name} | ${countOf(one)} |`),
);
const leftOut = titles.flatMap((title) => {
  const names = drivers.filter((one) => one.title === title && !serves(one)).map(({ name }) => name);
  return names.length === 0 ? [] : [`* ${title}: ${names.join(', ')}`];
});
const text = `# Drivers of the profile \`hardware\`, beside Debian's

\`npx tsx test/machines/drivers.ts\`, the last time it was run: the drivers that Debian's kernel ${release} has as modules for disks, network cards and what these are behind, and which of them
are built into our kernel. Debian's is of the version of our source, so a driver knows the same devices in both.

| for | built in | of Debian's |
| --- | --- | --- |
${summary.join('\n')}

## Built in

How many kinds of devices each says it serves (MODULE_DEVICE_TABLE), by bus.

| for | driver | devices |
| --- | --- | --- |
${served.join('\n')}

## Left out

\`kernelConfig\` adds one by its option of Kconfig.

${leftOut.join('\n')}
`;
await writeFile(join(projectRoot, 'docs/notes/drivers.md'), text);
console.log(text);
const unknown = drivers.filter(({ option }) => option === undefined).map(({ name }) => name);
if (unknown.length > 0) throw new Error(`no Makefile names the option of ${unknown.join(', ')}`);
