// SPDX-License-Identifier: MIT
/**
 * The baseline of who uses Debian: its own kernel for virtual machines, its own
 * program, on the machine that QEMU has for that. Not a VMM of ours: this kernel
 * takes modules for its network card, and no transport of ours.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { choosePorts } from '../devices/ports.js';
import { getDebianPackage } from '../host/debian.js';
import { cpioHeader, cpioTrailer, padding, S_IFDIR, S_IFREG } from '../image/cpio.js';
import { UklError } from '../lib/errors.js';
import { exec } from '../lib/exec.js';
import { makeScratch } from '../lib/scratch.js';
import type { Image } from '../model/index.js';
import type { StoreContext } from '../store/store.js';

/** In the order in which they need each other. */
const MODULES = ['net/core/failover', 'drivers/net/net_failover', 'drivers/net/virtio_net'] as const;
/** The package that our kernels' source comes from: theirs is of the same version. */
const SOURCE = 'linux-source-6.12';

export interface DebianKernel {
  /** A bzImage. */
  readonly kernel: string;
  readonly modules: readonly Buffer[];
}

/** Debian's kernel for virtual machines, of the version of our source. Throws UKL_SOURCE. */
export async function getDebianKernel(context: StoreContext): Promise<DebianKernel> {
  const version = (await exec('dpkg-query', ['-W', '-f', '${Version}', SOURCE], { errorCode: 'UKL_SOURCE', hint: 'ukl doctor' })).trim();
  const release = `${version.replace(/-.*$/, '')}+deb12-cloud-amd64`;
  const { path } = await getDebianPackage(`linux-image-${release}-unsigned`, SOURCE, context);
  const boot = join(path, 'boot');
  const modules: Buffer[] = [];
  for (const name of MODULES) {
    const packed = join(path, 'lib/modules', release, 'kernel', `${name}.ko.xz`);
    modules.push(Buffer.from(await exec('sh', ['-c', 'xz -dc "$0" | base64 -w0', packed], { errorCode: 'UKL_SOURCE' }), 'base64'));
  }
  return { kernel: join(boot, `vmlinuz-${release}`), modules };
}

/** The image's own archive, and the modules behind it: init loads what is in /.ukl/modules. */
async function writeInitrd({ path, manifest: { kernel, initramfs } }: Image, modules: readonly Buffer[], to: string): Promise<void> {
  if (initramfs.compression !== 'none') throw new UklError('UKL_BUG', 'the archive of a bzImage is compressed');
  await pipeline(createReadStream(path, { start: kernel.bytes, end: kernel.bytes + initramfs.bytes - 1 }), createWriteStream(to));
  const entries = [
    cpioHeader({ path: '.ukl/modules', mode: S_IFDIR | 0o700, length: 0 }, 1),
    ...modules.flatMap((data, index) => [
      cpioHeader({ path: `.ukl/modules/${index}`, mode: S_IFREG | 0o600, length: data.length }, 2 + index),
      data,
      padding(data.length),
    ]),
    cpioTrailer(),
  ];
  await writeFile(to, Buffer.concat(entries), { flag: 'a' });
}

export interface DebianGuest extends AsyncDisposable {
  /** Of this host, to the server's. */
  readonly port: number;
  /** Aborted when the guest is gone. */
  readonly ended: AbortSignal;
  /** What it said on its console, and QEMU. */
  said(): Promise<string>;
}

/** Starts a server's image, an ELF, with Debian's kernel in place of its own. */
export async function startDebian(
  image: Image,
  { port, plugin, cpu }: { readonly port: number; readonly plugin: string; readonly cpu: string },
  context: StoreContext,
): Promise<DebianGuest> {
  const scratch = await makeScratch('debian');
  const { kernel, modules } = await getDebianKernel(context);
  const initrd = join(scratch.path, 'initrd');
  await writeInitrd(image, modules, initrd);
  const [forward] = await choosePorts([{ address: '127.0.0.1', host: 0, guest: port, protocol: 'tcp' }]);
  if (forward === undefined) throw new UklError('UKL_BUG', 'no port was chosen');
  const words = [
    ...['-M', 'q35', '-accel', 'tcg,thread=single', '-plugin', plugin, '-cpu', cpu, '-m', '512M', '-smp', '1'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 nokaslr rdinit=/.ukl/init'],
    ...['-serial', `file:${join(scratch.path, 'console')}`],
    ...['-netdev', `user,id=net0,hostfwd=tcp:127.0.0.1:${forward.host}-:${port}`, '-device', 'virtio-net-pci,netdev=net0'],
  ];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const ended = new AbortController();
  const exit = once(child, 'exit').finally(() => ended.abort());
  const console = join(scratch.path, 'console');
  return {
    port: forward.host,
    ended: ended.signal,
    said: async () => `${said}${await readFile(console, 'utf8').catch(() => '')}`.trim(),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exit;
      await scratch[Symbol.asyncDispose]();
    },
  };
}
