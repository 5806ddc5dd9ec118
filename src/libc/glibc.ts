// SPDX-License-Identifier: MIT

import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, join, relative } from 'node:path';
import { hashDebianTarball } from '../host/debian.js';
import { type ExecOptions, exec } from '../lib/exec.js';
import { hashFile } from '../lib/hash.js';
import { projectRoot } from '../lib/paths.js';
import type { Libc, Requirement } from '../model/index.js';
import { fromStore, type StoreContext } from '../store/store.js';

export const VERSION = '2.36';
const TARBALL = `/usr/src/glibc/glibc-${VERSION}.tar.xz`;
/** What the build of the C library needs. */
export const requirements: readonly Requirement[] = [
  { package: 'glibc-source', why: 'the C library that programs are linked with', file: TARBALL },
  { package: 'gcc', why: 'compiles the kernel and C programs', file: '/usr/bin/gcc' },
  { package: 'make', why: 'drives the builds', file: '/usr/bin/make' },
  { package: 'bison', why: "Kconfig's parser, and the C library's", file: '/usr/bin/bison' },
  { package: 'gawk', why: "scripts of the C library's build", file: '/usr/bin/gawk' },
  { package: 'python3-minimal', why: "scripts of the C library's build", file: '/usr/bin/python3' },
  { package: 'xz-utils', why: 'unpacks the source', file: '/usr/bin/xz' },
];

/** Copied over the tree; configure finds the directories by the name of the host. */
const SUBTREE = join(projectRoot, 'glibc');
const HOST = 'x86_64-ukl-linux-gnu';

/** As Debian configures it (debian/rules.d), but for what a guest has no use for. */
const CONFIGURE: readonly string[] = [
  '--prefix=/usr',
  '--enable-stack-protector=strong',
  '--enable-kernel=3.2.0',
  '--without-selinux',
  '--disable-crypt',
  '--disable-nscd',
  '--disable-build-nscd',
];
export const CONFIGURE_VARIABLES: readonly string[] = ['CFLAGS=-O2 -g0', 'MAKEINFO=:'];

/** configure's arguments; `host` decides whether it finds the subtree. */
export function configureArgs(host: string): string[] {
  return [`--host=${host}`, `--build=${host}`, ...CONFIGURE];
}

/** Where Debian has libraries, gconv modules and locales: a guest's are Debian's. */
const CONFIGPARMS = `slibdir = /lib/x86_64-linux-gnu
libdir = /usr/lib/x86_64-linux-gnu
rtlddir = /lib64
build-programs = no
`;

/** Roughly how many objects the build compiles; only for the progress shown. */
const EXPECTED_STEPS = 7800;

const START_FILES = ['crt1.o', 'Scrt1.o', 'rcrt1.o', 'gcrt1.o', 'grcrt1.o', 'crti.o', 'crtn.o'];

/** Archives by the names they are linked by; libm.a names two (as Debian's). */
const ARCHIVES: Readonly<Record<string, string>> = {
  'libc.a': 'libc.a',
  'libc_nonshared.a': 'libc_nonshared.a',
  [`libm-${VERSION}.a`]: 'math/libm.a',
  'libmvec.a': 'mathvec/libmvec.a',
  'libpthread.a': 'nptl/libpthread.a',
  'libdl.a': 'dlfcn/libdl.a',
  'librt.a': 'rt/librt.a',
  'libutil.a': 'login/libutil.a',
  'libanl.a': 'resolv/libanl.a',
  'libresolv.a': 'resolv/libresolv.a',
};

/** Shared objects by soname. */
const SHARED: Readonly<Record<string, string>> = {
  'ld-linux-x86-64.so.2': 'elf/ld.so',
  'libc.so.6': 'libc.so',
  'libm.so.6': 'math/libm.so',
  'libmvec.so.1': 'mathvec/libmvec.so',
  'libpthread.so.0': 'nptl/libpthread.so',
  'libdl.so.2': 'dlfcn/libdl.so',
  'librt.so.1': 'rt/librt.so',
  'libutil.so.1': 'login/libutil.so',
  'libanl.so.1': 'resolv/libanl.so',
  'libresolv.so.2': 'resolv/libresolv.so',
  'libnss_files.so.2': 'nss/libnss_files.so',
  'libnss_dns.so.2': 'resolv/libnss_dns.so',
  'libnss_compat.so.2': 'nss/libnss_compat.so',
};

/** Linker scripts: relative names are looked for in the library path. */
const SCRIPTS: Readonly<Record<string, string>> = {
  'libc.so': 'OUTPUT_FORMAT(elf64-x86-64)\nGROUP ( libc.so.6 libc_nonshared.a AS_NEEDED ( ld-linux-x86-64.so.2 ) )\n',
  'libm.so': 'OUTPUT_FORMAT(elf64-x86-64)\nGROUP ( libm.so.6 AS_NEEDED ( libmvec.so.1 ) )\n',
  'libm.a': `OUTPUT_FORMAT(elf64-x86-64)\nGROUP ( libm-${VERSION}.a libmvec.a )\n`,
};

/** What `-lNAME` finds besides the scripts. */
const DEVELOPMENT_LINKS: Readonly<Record<string, string>> = {
  'libmvec.so': 'libmvec.so.1',
  'libanl.so': 'libanl.so.1',
  'libresolv.so': 'libresolv.so.2',
};

/** A note (elf(5)) in each program that ukl-gcc links: "ukl", type 1, version 1. */
const MARK = '.section .note.ukl, "a", @note\n.balign 4\n.long 4, 4, 1\n.asciz "ukl"\n.long 1\n.section .note.GNU-stack, "", @progbits\n';

/** gcc's own rules, with the mark behind the last start file of a program. */
const SPECS = `%rename endfile ukl_endfile

*endfile:
%(ukl_endfile) %{!shared:ukl-mark.o%s}

`;

/** gcc or g++ that finds our start files and libraries first. */
const wrapper = (compiler: string): string => `#!/bin/sh
lib=$(dirname "$(readlink -f "$0")")/../lib
exec ${compiler} -specs="$lib/ukl.specs" -B"$lib/" -L"$lib" "$@"
`;

async function listFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Hashes of Debian's tarball and of the subtree's files. Throws UKL_SOURCE. */
export async function hashSource(): Promise<{ readonly tarball: string; readonly subtree: Readonly<Record<string, string>> }> {
  const subtree: Record<string, string> = {};
  for (const file of await listFiles(SUBTREE)) subtree[relative(SUBTREE, file)] = await hashFile(file);
  return { tarball: await hashDebianTarball('glibc-source', TARBALL), subtree };
}

/** Unpacks Debian's source into `directory`, as `glibc-VERSION`, and adds the subtree. */
export async function unpackSource(directory: string, options: ExecOptions): Promise<void> {
  await exec('tar', ['-x', '-f', TARBALL, '-C', directory], { ...options, errorCode: 'UKL_SOURCE' });
  await exec('cp', ['-r', `${SUBTREE}/.`, join(directory, `glibc-${VERSION}`)], options);
}

async function install(build: string, output: string): Promise<void> {
  const lib = join(output, 'lib');
  const bin = join(output, 'bin');
  await mkdir(lib);
  await mkdir(bin);
  for (const name of START_FILES) await copyFile(join(build, 'csu', name), join(lib, name));
  for (const [name, from] of Object.entries({ ...ARCHIVES, ...SHARED })) await copyFile(join(build, from), join(lib, name));
  for (const [name, text] of Object.entries(SCRIPTS)) await writeFile(join(lib, name), text);
  for (const [name, to] of Object.entries(DEVELOPMENT_LINKS)) await symlink(to, join(lib, name));
  await writeFile(join(lib, 'ukl.specs'), SPECS);
  await exec('gcc', ['-c', '-x', 'assembler', '-o', join(lib, 'ukl-mark.o'), '-'], { input: MARK });
  for (const [name, compiler] of [
    ['ukl-gcc', 'gcc'],
    ['ukl-g++', 'g++'],
  ] as const) {
    await writeFile(join(bin, name), wrapper(compiler));
    await chmod(join(bin, name), 0o755);
  }
}

/**
 * Our C library from the store: Debian's glibc with the subtree in glibc/.
 *
 * @throws UKL_SOURCE, UKL_COMMAND if configure or make fails
 */
export async function getGlibc(context: StoreContext): Promise<Libc> {
  const compiler = (await exec('gcc', ['-dumpfullversion'])).trim();
  const path = await fromStore(
    {
      kind: 'glibc',
      title: `build glibc ${VERSION}`,
      key: {
        ...(await hashSource()),
        configure: configureArgs(HOST),
        configparms: CONFIGPARMS,
        specs: SPECS,
        mark: MARK,
        wrapper: wrapper('gcc'),
        scripts: SCRIPTS,
        compiler,
      },
      make: async ({ output, work, progress, log }) => {
        const source = join(work, `glibc-${VERSION}`);
        const build = join(work, 'build');
        const shell = { log, signal: context.signal };
        if (!existsSync(join(build, 'config.make'))) {
          progress(basename(TARBALL));
          await unpackSource(work, shell);
          await mkdir(build, { recursive: true });
          await writeFile(join(build, 'configparms'), CONFIGPARMS);
          progress('configure');
          await exec(join(source, 'configure'), [...configureArgs(HOST), ...CONFIGURE_VARIABLES], { ...shell, cwd: build });
        }
        let steps = 0;
        // As for the kernel: an interrupted build's compilers hold the lock as long as one of them lives.
        await exec('flock', [join(work, '.lock'), 'make', '-C', build, `-j${availableParallelism()}`], {
          ...shell,
          onLine: (line) => {
            const made = / -o \S*?([^/\s]+\.o[sS]?) /.exec(line)?.[1];
            if (made === undefined) return;
            steps++;
            progress(`${Math.min(99, Math.round((100 * steps) / EXPECTED_STEPS))} % ${made}`);
          },
        });
        await install(build, output);
        await writeFile(join(output, 'version'), VERSION);
      },
    },
    context,
  );
  return { version: await readFile(join(path, 'version'), 'utf8'), bin: join(path, 'bin'), lib: join(path, 'lib') };
}
