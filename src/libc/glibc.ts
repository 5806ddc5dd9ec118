// SPDX-License-Identifier: MIT

import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, join, relative } from 'node:path';
import { hashDebianTarball } from '../host/debian.js';
import { type ExecOptions, exec } from '../lib/exec.js';
import { hashFile } from '../lib/hash.js';
import { projectRoot } from '../lib/paths.js';
import type { Libc, Requirement } from '../model/index.js';
import type { Prebuilt } from '../store/prebuilt.js';
import { fromStore, inStore, type StoreContext, type StoreRecipe } from '../store/store.js';

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

/**
 * Only libc and the dynamic loader make system calls: Debian's other libraries
 * (libm, libresolv, ...) are of the same version and are used as they are. The
 * directories that the two consist of; the others hold programs, tables and tests.
 */
const SUBDIRS: readonly string[] = [
  ...['csu', 'iconv', 'locale', 'assert', 'ctype', 'intl', 'catgets', 'math', 'setjmp', 'signal', 'stdlib', 'stdio-common', 'libio', 'dlfcn', 'nptl'],
  ...['malloc', 'string', 'wcsmbs', 'time', 'dirent', 'grp', 'pwd', 'posix', 'io', 'termios', 'resource', 'misc', 'socket', 'sysvipc', 'gmon'],
  ...['wctype', 'shadow', 'gshadow', 'argp', 'rt', 'debug', 'sunrpc', 'nss', 'inet', 'resolv', 'login', 'elf'],
];
const MAKE_VARIABLES: readonly string[] = ['extra-libs=', 'extra-libs-others=', `all-subdirs=${SUBDIRS.join(' ')}`];

/** static: for programs that are linked with -static.  complete: the shared objects as well. */
export type LibcKind = 'static' | 'complete';

interface Build {
  /** Targets and further words of make, one run after the other. */
  readonly makes: readonly (readonly string[])[];
  /** Roughly how many objects are compiled; only for the progress shown. */
  readonly steps: number;
  /** Files of the build by the names that they are linked by. */
  readonly files: Readonly<Record<string, string>>;
  /** Linker scripts: relative names are looked for in the library path. */
  readonly scripts: Readonly<Record<string, string>>;
}

const START_FILES = ['crt1.o', 'Scrt1.o', 'rcrt1.o', 'gcrt1.o', 'grcrt1.o', 'crti.o', 'crtn.o'];
const STATIC_FILES: Readonly<Record<string, string>> = { 'libc.a': 'libc.a', ...Object.fromEntries(START_FILES.map((name) => [name, `csu/${name}`])) };

const BUILDS: Readonly<Record<LibcKind, Build>> = {
  static: {
    // The start files of shared builds are there in each build; nothing else is compiled twice then.
    makes: [['csu/subdir_lib'], ['build-shared=no', '-o', 'csu/subdir_lib', 'lib']],
    steps: 2050,
    files: STATIC_FILES,
    scripts: {},
  },
  complete: {
    makes: [['lib']],
    steps: 4400,
    files: { ...STATIC_FILES, 'libc_nonshared.a': 'libc_nonshared.a', 'ld-linux-x86-64.so.2': 'elf/ld.so', 'libc.so.6': 'libc.so' },
    scripts: { 'libc.so': 'OUTPUT_FORMAT(elf64-x86-64)\nGROUP ( libc.so.6 libc_nonshared.a AS_NEEDED ( ld-linux-x86-64.so.2 ) )\n' },
  },
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

async function install(build: string, output: string, { files, scripts }: Build): Promise<void> {
  const lib = join(output, 'lib');
  const bin = join(output, 'bin');
  await mkdir(lib);
  await mkdir(bin);
  for (const [name, from] of Object.entries(files)) await copyFile(join(build, from), join(lib, name));
  for (const [name, text] of Object.entries(scripts)) await writeFile(join(lib, name), text);
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

type SourceHashes = Awaited<ReturnType<typeof hashSource>>;

/** Where a release carries the library, by all that determines it but the compiler. */
function prebuiltOf(kind: LibcKind, source: SourceHashes): Prebuilt & { readonly key: object } {
  const key = {
    ...source,
    configure: configureArgs(HOST),
    configparms: CONFIGPARMS,
    variables: MAKE_VARIABLES,
    made: BUILDS[kind],
    specs: SPECS,
    mark: MARK,
    wrapper: wrapper('gcc'),
  };
  return { name: kind === 'static' ? 'glibc-static' : 'glibc', key };
}

export async function prebuiltLibc(kind: LibcKind): Promise<Prebuilt> {
  return prebuiltOf(kind, await hashSource());
}

/** What the store makes for a kind of library. */
function recipe(kind: LibcKind, source: SourceHashes, compiler: string, { signal }: StoreContext): StoreRecipe {
  const made = BUILDS[kind];
  const prebuilt = prebuiltOf(kind, source);
  return {
    kind: prebuilt.name,
    title: `build glibc ${VERSION}${kind === 'static' ? ' (static)' : ''}`,
    key: { ...prebuilt.key, compiler },
    prebuilt,
    make: async ({ output, work, progress, log }) => {
      const tree = join(work, `glibc-${VERSION}`);
      const build = join(work, 'build');
      const shell = { log, signal };
      if (!existsSync(join(build, 'config.make'))) {
        progress(basename(TARBALL));
        await unpackSource(work, shell);
        await mkdir(build, { recursive: true });
        await writeFile(join(build, 'configparms'), CONFIGPARMS);
        progress('configure');
        await exec(join(tree, 'configure'), [...configureArgs(HOST), ...CONFIGURE_VARIABLES], { ...shell, cwd: build });
      }
      let steps = 0;
      for (const words of made.makes) {
        // As for the kernel: an interrupted build's compilers hold the lock as long as one of them lives.
        await exec('flock', [join(work, '.lock'), 'make', '-C', build, `-j${availableParallelism()}`, ...MAKE_VARIABLES, ...words], {
          ...shell,
          onLine: (line) => {
            const object = / -o \S*?([^/\s]+\.o[sS]?) /.exec(line)?.[1];
            if (object === undefined) return;
            steps++;
            progress(`${Math.min(99, Math.round((100 * steps) / made.steps))} % ${object}`);
          },
        });
      }
      await install(build, output, made);
      await writeFile(join(output, 'version'), VERSION);
    },
  };
}

/**
 * Our C library from the store: Debian's glibc with the subtree in glibc/.
 *
 * @throws UKL_SOURCE, UKL_COMMAND if configure or make fails
 */
export async function getGlibc(kind: LibcKind, context: StoreContext): Promise<Libc> {
  const source = await hashSource();
  const compiler = (await exec('gcc', ['-dumpfullversion'])).trim();
  const complete = recipe('complete', source, compiler, context);
  const path = await fromStore(kind === 'complete' || inStore(complete) ? complete : recipe(kind, source, compiler, context), context);
  return { version: await readFile(join(path, 'version'), 'utf8'), bin: join(path, 'bin'), lib: join(path, 'lib') };
}
