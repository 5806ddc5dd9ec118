// SPDX-License-Identifier: MIT
/**
 * nginx in ring 0 from a disk, on machines with every firmware, disk and network
 * card: `npx tsx test/machines/run.ts`. Writes docs/notes/machines.md.
 */
import { copyFile, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { asUklError } from '../../src/lib/errors.js';
import { exec } from '../../src/lib/exec.js';
import { hashFile } from '../../src/lib/hash.js';
import { projectRoot } from '../../src/lib/paths.js';
import { makeScratch } from '../../src/lib/scratch.js';
import { build, createLog, type RunOptions, run } from '../../src/sdk/index.js';
import { Cases, writeWholeNote } from '../cases.js';
import { type Combination, combinations } from './pairs.js';

const SECONDS = 180;
const RETRY_MS = 250;
const EXAMPLE = join(projectRoot, 'examples/nginx');
/** Debian's own, whose certificate its variables for Secure Boot trust; anybody knows the passphrase. */
const SNAKEOIL = { key: '/usr/share/ovmf/PkKek-1-snakeoil.key', cert: '/usr/share/ovmf/PkKek-1-snakeoil.pem', passphrase: 'snakeoil' } as const;

const log = createLog();

/** Settles once the guest serves its page. Throws what ends it before. */
async function serves(image: string, options: RunOptions): Promise<string> {
  const began = performance.now();
  await using vm = await run(image, { timeout: SECONDS, ...options, accel: 'tcg', memory: '512M', cpus: 2, ports: ['0:80'] });
  vm.stdout.resume();
  vm.stderr.resume();
  let over = false;
  const end = (): void => {
    over = true;
  };
  vm.result.then(end, end);
  while (!over) {
    const answer = await fetch(`http://127.0.0.1:${vm.port(80)}/`, { signal: AbortSignal.timeout(5000) }).catch(() => undefined);
    if (answer?.ok && (await answer.text()).length > 0) return `answers after ${((performance.now() - began) / 1000).toFixed(1)} s`;
    await setTimeout(RETRY_MS);
  }
  const { end: how } = await vm.result;
  throw new Error(how.kind === 'panic' ? `panic: ${how.message}` : how.kind);
}

/** Settles with why it does not. */
const servesNot = (image: string, options: RunOptions): Promise<string> =>
  serves(image, options).then(
    (seen) => Promise.reject(new Error(seen)),
    (error: unknown) => asUklError(error).message,
  );

await using scratch = await makeScratch('machines');
const key = join(scratch.path, 'key.pem');
await exec('openssl', ['pkey', '-in', SNAKEOIL.key, '-passin', `pass:${SNAKEOIL.passphrase}`, '-out', key]);
const image = (name: string): string => join(scratch.path, name);
await build(EXAMPLE, { log, container: 'disk', out: image('disk') });
await build(EXAMPLE, { log, container: 'disk', out: image('signed'), key, cert: SNAKEOIL.cert });
// QEMU's cards have a power of two of bytes.
for (const name of ['disk', 'signed']) {
  const card = image(`${name}-card`);
  const bytes = 2 ** Math.ceil(Math.log2((await stat(image(name))).size));
  await copyFile(image(name), card);
  await truncate(card, bytes);
  const notes = JSON.parse(await readFile(`${image(name)}.host.json`, 'utf8')) as object;
  await writeFile(`${card}.host.json`, JSON.stringify({ ...notes, sha256: await hashFile(card) }));
}
await build(EXAMPLE, { log, container: 'elf', profile: 'hardware', out: image('elf') });
await build(EXAMPLE, { log, container: 'uki', out: image('uki') });
await build(EXAMPLE, { log, container: 'uki', out: image('signed-uki'), key, cert: SNAKEOIL.cert });
await build(EXAMPLE, { log, container: 'iso', out: image('iso') });

const tried = new Cases(log);
const fileOf = ({ machine, firmware, bus }: Combination): string =>
  image(machine === 'microvm' ? 'elf' : `${firmware === 'secure-boot' ? 'signed' : 'disk'}${bus === 'sd' ? '-card' : ''}`);
const wanted = process.argv.slice(2);
const chosen = combinations().filter((one) => wanted.length === 0 || wanted.every((word) => Object.values(one).includes(word)));
for (const one of chosen) {
  const { machine, firmware, bus, nic } = one;
  const options = { machine, firmware, nic, ...(machine === 'microvm' ? {} : { diskBus: bus }) };
  await tried.try([machine, firmware, machine === 'microvm' ? 'none (its kernel)' : bus, nic], () => serves(fileOf(one), options));
}
const others: readonly (readonly [string, RunOptions, boolean, string])[] = [
  ['uki', { firmware: 'uefi' }, true, 'an EFI program'],
  ['signed-uki', { firmware: 'secure-boot' }, true, 'an EFI program, signed'],
  ['uki', { firmware: 'secure-boot', timeout: 60 }, false, 'an EFI program that nobody has signed'],
  ['iso', { machine: 'pc', firmware: 'bios' }, true, 'a CD'],
  ['iso', { machine: 'q35', firmware: 'uefi' }, true, 'a CD'],
  ['iso', { machine: 'q35', firmware: 'bios', diskBus: 'usb' }, true, 'a USB stick'],
  ['iso', { machine: 'q35', firmware: 'uefi', diskBus: 'usb' }, true, 'a USB stick'],
];
if (wanted.length === 0) {
  for (const [name, options, should, what] of others) {
    await tried.try([options.machine ?? 'q35', options.firmware ?? '', what, 'virtio'], () => (should ? serves : servesNot)(image(name), options));
  }
  await writeWholeNote(
    'machines.md',
    `# Machines on which an image was started

\`npx tsx test/machines/run.ts\`, the last time it was run: nginx in ring 0, with the profile \`hardware\`, two processors and 512 MiB, in QEMU 7.2's emulation with
SeaBIOS and Debian's OVMF. Each two choices that can go together are together in one row at least; Debian's OVMF boots neither from pvscsi nor from an SD card. Times are from the start of the VMM, on a busy host.

| machine | firmware | boots from | network card | nginx |
| --- | --- | --- | --- | --- |
${tried.rows.join('\n')}
`,
  );
}
tried.end();
