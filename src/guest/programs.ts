// SPDX-License-Identifier: MIT
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '../lib/exec.js';
import { hashFile } from '../lib/hash.js';
import { projectRoot } from '../lib/paths.js';
import type { Requirement } from '../model/index.js';
import { fromStore, type StoreContext } from '../store/store.js';

/** What compiles the guest's init and the loaders. */
export const requirements: readonly Requirement[] = [
  { package: 'gcc', why: 'compiles the kernel and C programs', file: '/usr/bin/gcc' },
  { package: 'libc6-dev', why: "headers and libc.a for programs and for the guest's init", file: '/usr/lib/x86_64-linux-gnu/libc.a' },
];

const compilerVersion = async (): Promise<string> => (await exec('gcc', ['-dumpfullversion'])).trim();

/** Not where other static programs are: a breakpoint of a debugger is an address in all of them. */
const INIT_FLAGS = ['-O2', '-Wall', '-Wextra', '-Werror', '-static', '-s', '-Wl,-Ttext-segment=0x20000000'];

/** The guest's PID 1, compiled from guest/init. */
export async function getInit(context: StoreContext): Promise<string> {
  const directory = join(projectRoot, 'guest/init');
  const names = (await readdir(directory)).filter((name) => /\.[ch]$/.test(name)).sort();
  const sources = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await hashFile(join(directory, name))] as const)));
  const path = await fromStore(
    {
      kind: 'init',
      title: "build the guest's init",
      key: { sources, flags: INIT_FLAGS, compiler: await compilerVersion() },
      make: async ({ output, log }) => {
        const units = names.filter((name) => name.endsWith('.c')).map((name) => join(directory, name));
        await exec('gcc', [...INIT_FLAGS, '-o', join(output, 'init'), ...units], { log });
      },
    },
    context,
  );
  return join(path, 'init');
}

/** The code between kernel and initramfs, assembled from a source in boot/. */
export async function getLoader(name: string, context: StoreContext): Promise<Buffer> {
  const source = join(projectRoot, 'boot', name);
  const path = await fromStore(
    {
      kind: 'loader',
      title: "assemble the image's loader",
      key: { name, source: await hashFile(source), compiler: await compilerVersion() },
      make: async ({ output, log }) => {
        const object = join(output, 'loader.o');
        await exec('gcc', ['-m32', '-c', '-o', object, source], { log });
        await exec('objcopy', ['-O', 'binary', '-j', '.text', object, join(output, 'loader')], { log });
      },
    },
    context,
  );
  return readFile(join(path, 'loader'));
}

const HOST_FLAGS = ['-O2', '-Wall', '-Wextra', '-Werror', '-s'];

/** What starts a container's process where an engine wants it. */
export async function getEnter(context: StoreContext): Promise<string> {
  const source = join(projectRoot, 'bundle/enter.c');
  const path = await fromStore(
    {
      kind: 'enter',
      title: 'build what enters a network name space',
      key: { source: await hashFile(source), flags: HOST_FLAGS, compiler: await compilerVersion() },
      make: async ({ output, log }) => {
        await exec('gcc', [...HOST_FLAGS, '-o', join(output, 'enter'), source], { log });
      },
    },
    context,
  );
  return join(path, 'enter');
}

const LIBRARY_FLAGS = ['-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-fvisibility=hidden', '-s'];

async function getLibrary(name: string, title: string, context: StoreContext): Promise<string> {
  const source = join(projectRoot, 'vmm-plugins', `${name}.c`);
  const path = await fromStore(
    {
      kind: name,
      title,
      key: { source: await hashFile(source), flags: LIBRARY_FLAGS, compiler: await compilerVersion() },
      make: async ({ output, log }) => {
        await exec('gcc', [...LIBRARY_FLAGS, '-o', join(output, `${name}.so`), source], { log });
      },
    },
    context,
  );
  return join(path, `${name}.so`);
}

/** The library that QEMU is started with (LD_PRELOAD), so that many clients can connect at once. */
export const getBacklog = (context: StoreContext): Promise<string> => getLibrary('backlog', "build the VMM's listen()", context);

/** The plugin of QEMU's that counts instructions by call path. */
export const getProfiler = (context: StoreContext): Promise<string> => getLibrary('profile', "build the VMM's profiler", context);

/** The plugin of QEMU's that counts instructions and events. */
export const getCounter = (context: StoreContext): Promise<string> => getLibrary('count', "build the VMM's counter", context);
