// SPDX-License-Identifier: MIT
/**
 * Every option, once: its type, where it can be given, its flag, its help. The
 * flags of the command line, the types of the SDK, the schema of ukl.config and
 * the tables of the documentation are made from this.
 */
import { z } from 'zod';
import { containers } from '../containers/index.js';
import { TIMEOUT_MAX } from '../model/image.js';
import type { ContainerName } from '../model/index.js';
import { DISK_BUSES, FIRMWARES, MACHINE_TYPES, NIC_MODELS } from '../model/machine.js';
import { vmms } from '../vmms/index.js';
import type { VmmName } from '../vmms/vmm.js';
import { functionSchema } from './function.js';
import { option, type Scope } from './option.js';

/** MAX_CARDS of guest/init/init.h. */
const INTERFACES_MAX = 8;

/** Host 0 is any free port. */
const portWord = z
  .string()
  .regex(/^((\d{1,3}\.){3}\d{1,3}:|\[[0-9a-f:]+\]:)?\d{1,5}:\d{1,5}(\/(tcp|udp))?$/, 'expected [ADDRESS:]HOST:GUEST, as in 8080:80 or 127.0.0.1:5353:53/udp');
const words = z.array(z.string());
const paths = z.array(z.string().min(1, 'an empty path'));
const oneOrMore = <One extends z.ZodType>(one: One): z.ZodUnion<[One, z.ZodArray<One>]> =>
  z.union([one, z.array(one).min(1).max(INTERFACES_MAX)], {
    error: ({ input }) => one.safeParse([input].flat()[0]).error?.issues[0]?.message ?? 'expected one or more',
  });
const names = <Name extends string>(all: readonly Name[]): z.ZodEnum<{ [Key in Name]: Key }> => z.enum(all as readonly [Name, ...Name[]]);

export const OPTIONS = {
  $schema: option({ schema: z.string().optional(), scopes: ['config'], help: 'Path of ukl.schema.json, for editors' }),
  name: option({
    schema: z
      .string()
      .regex(/^\.*[\w-][\w.-]*$/, 'letters, digits, dot, dash and underscore only')
      .optional(),
    scopes: ['config'],
    help: 'Name of the image',
    byDefault: "the directory's",
  }),
  program: option({ schema: z.string().min(1).optional(), scopes: ['config'], help: 'x86-64 ELF file to run; with build, the file that the commands make' }),
  sources: option({ schema: paths.min(1).optional(), scopes: ['config'], help: 'C files, compiled and linked into one static program' }),
  build: option({
    schema: words.min(1).optional(),
    scopes: ['config'],
    help: 'Shell commands that make the program, with CC, CXX and JOBS set; instead of sources',
  }),
  debianSource: option({
    schema: z
      .string()
      .regex(/^[a-z0-9][a-z0-9+.-]+$/, 'the name of a Debian source package')
      .optional(),
    scopes: ['config'],
    help: "Debian source package to build in; without it, the project's own directory",
  }),
  buildPackages: option({ schema: words.default([]), scopes: ['config'], help: 'Debian packages that the build needs' }),
  entry: option({ schema: z.string().min(1).optional(), scopes: ['config'], help: 'TypeScript or JavaScript module, run by Node.js' }),
  image: option({
    schema: z.string().min(1).optional(),
    scopes: ['config'],
    help: 'Container image to run: oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, HOST[:PORT]/NAME[:TAG]',
  }),
  entrypoint: option({
    schema: z.string().min(1).optional(),
    scopes: ['config', 'build'],
    help: "Program in place of a container image's ENTRYPOINT and CMD",
    flag: { words: '--entrypoint <program>', help: "start this program of a container image, in place of the image's own" },
  }),
  runtime: option({
    schema: z
      .string()
      .regex(/^node@\d+(\.\d+\.\d+)?$/, 'node@24, or an exact version: node@24.21.0')
      .default('node@24'),
    scopes: ['config'],
    help: 'Version of Node.js: node@22, node@24, node@26, or an exact one',
  }),
  nodeArgs: option({ schema: words.default([]), scopes: ['config'], help: 'Options of Node.js itself: --max-old-space-size=200' }),
  function: option({
    schema: functionSchema.optional(),
    scopes: ['config'],
    help: 'What the program is to `ukl functions`, which it is a function for (functions.md)',
    byDefault: 'none',
  }),
  external: option({
    schema: words.default([]),
    scopes: ['config'],
    help: 'npm packages to pack as they are, rather than to bundle; native ones are found by themselves',
  }),
  cflags: option({ schema: words.default([]), scopes: ['config'], help: 'Options for the compiler' }),
  libs: option({ schema: words.default([]), scopes: ['config'], help: "Last words on the linker's command line: -lm, ./libx.a" }),
  shortcuts: option({
    schema: z.array(z.string().regex(/^\w+$|\.c$/, "a C file, or the name of one that ukl has: 'tcp', 'upcall'")).default([]),
    scopes: ['config'],
    help: 'Kernel halves of shortcuts: C files, tcp or upcall',
  }),
  express: option({
    schema: z.boolean().default(false),
    scopes: ['config', 'build'],
    help: 'Serve TCP clients of a ring 0 program on a short way through the kernel',
    flag: { words: '--express', kind: 'switch', help: 'serve TCP clients of a ring 0 program on a short way' },
  }),
  cwd: option({
    schema: z.string().startsWith('/').optional(),
    scopes: ['config'],
    help: 'Working directory of the program in the guest',
    byDefault: "/, or the container image's",
  }),
  args: option({ schema: words.default([]), scopes: ['config', 'run'], help: 'Arguments of the program' }),
  env: option({
    schema: z.record(z.string().regex(/^[^=\0]+$/, 'a name without ='), z.string()).default({}),
    scopes: ['config', 'run'],
    help: 'Environment of the program',
    flag: { words: '-e, --env <KEY=VALUE>', kind: 'variables', help: 'set a variable of the program; KEY alone passes it on' },
  }),
  files: option({
    schema: paths.default([]),
    scopes: ['config', 'build'],
    help: 'host[:guest]: further files and directories; ELF files bring their libraries; a leading $BUILD is the directory that build ran in',
    flag: { words: '--file <host[:guest]>', kind: 'many', help: 'pack a further file or directory; programs bring their libraries' },
  }),
  ports: option({
    schema: z.array(portWord).default([]),
    scopes: ['config', 'run'],
    help: '[ADDRESS:]HOST:GUEST[/udp]: ports of the host, on 127.0.0.1 by default, that lead to the guest; HOST 0 is any free port',
    flag: { words: '-p, --publish <[address:]host:guest>', kind: 'many', help: 'forward a port of this host to the guest' },
  }),
  memory: option({
    schema: z.string().optional(),
    scopes: ['config', 'run'],
    help: 'Memory of the guest: 256M, 1G',
    byDefault: '256M, or 512M with entry',
    flag: { words: '-M, --memory <size>', help: 'set the memory of the guest (256M; 512M for Node.js)' },
  }),
  cpus: option({
    schema: z.number().int('expected 1 to 64').min(1, 'expected 1 to 64').max(64, 'expected 1 to 64').default(1),
    scopes: ['config', 'run'],
    help: 'Processors of the guest',
    flag: { words: '-c, --cpus <n>', kind: 'number', help: 'set the number of processors (1)' },
  }),
  cpu: option({
    schema: z.string().optional(),
    scopes: ['run'],
    help: "QEMU's model of the processor, with features: EPYC, or Skylake-Server,-pcid",
    byDefault: 'max, or host with KVM',
    flag: { words: '--cpu <model>', help: "choose QEMU's model of the processor, as EPYC (max, or host with KVM)" },
  }),
  disks: option({
    schema: z.array(z.string().regex(/.:\//, 'expected FILE:/path')).default([]),
    scopes: ['config', 'run'],
    help: 'FILE:/path: ext4 images, created on first use, kept',
    flag: { words: '--disk <file:/path>', kind: 'many', help: 'mount an ext4 image, created on first use, kept' },
  }),
  data: option({
    schema: words.default([]),
    scopes: ['config'],
    help: "SOURCE:/path[:TYPE]: file systems of the machine's own disks, by LABEL=, UUID= or /dev/...; with ext4, xfs or btrfs, made on first use; or of other machines: ADDRESS:/export, //ADDRESS/share, and a tag with 9p or virtiofs",
  }),
  watchdog: option({
    schema: z.number().int().min(1, 'expected 1 to 3600').max(3600, 'expected 1 to 3600').optional(),
    scopes: ['config'],
    help: "Seconds after which the machine's watchdog, if it has one, restarts a machine that has hung",
    byDefault: 'none',
  }),
  root: option({
    schema: z.enum(['memory', 'disk']).default('memory'),
    scopes: ['config'],
    help: "Where a disk's files are while the image runs: in memory, or on the disk, read-only, checked by the kernel, with memory above for what is written",
  }),
  updates: option({
    schema: z
      .string()
      .regex(/^(runs|says):([1-9]\d{0,2}|[1-2]\d{3}|3[0-5]\d{2}|3600)$/, "runs:SECONDS or says:SECONDS, up to 3600: 'runs:30'")
      .optional(),
    scopes: ['config'],
    help: 'The disk takes updates, and keeps one that proves good: its program runs so long (runs:30), or makes /run/ukl/good within so long (says:120)',
    byDefault: 'none',
  }),
  attach: option({
    schema: z.array(z.string().min(1)).default([]),
    scopes: ['run'],
    help: 'FILE[:BUS]: raw disks of this host that the guest mounts by itself, as data in ukl.config says',
    flag: { words: '--attach <file[:bus]>', kind: 'many', help: 'give the machine a raw disk, which it mounts as its data says' },
  }),
  volumes: option({
    schema: z.array(z.string().regex(/.:\//, 'expected DIRECTORY:/path[:ro]')).default([]),
    scopes: ['config', 'run'],
    help: 'DIRECTORY:/path[:ro]: directories of the host that the guest reads and writes, or only reads',
    flag: { words: '--volume <directory:/path[:ro]>', kind: 'many', help: 'share a directory of this host with the guest; also -v directory:/path' },
  }),
  net: option({
    schema: oneOrMore(
      z.string().regex(/^(user|none|(tap|bridge|socket|listen):.+)$/, 'user, none, tap:NAME, bridge:NAME, socket:PATH or listen:PATH'),
    ).optional(),
    scopes: ['run'],
    help: 'What a network interface is connected to: user, none, tap:NAME[,mac=MAC][,mtu=BYTES], bridge:NAME, socket:PATH (somebody listens there) or listen:PATH (for somebody who connects); a list has an interface each',
    byDefault: 'user',
    flag: { words: '--net <what>', kind: 'many', help: 'connect an interface of the guest to tap:NAME, bridge:NAME, socket:PATH, listen:PATH or none (user)' },
  }),
  network: option({
    schema: oneOrMore(
      z.string().regex(/^([^=\s,]+=)?[\da-z.:/,]+$/i, 'dhcp, ipv6, none, or ADDRESS/BITS[,GATEWAY[,DNS...]], with commas between several'),
    ).optional(),
    scopes: ['config', 'run'],
    help: 'How an interface gets its addresses: none, or dhcp, ipv6 and ADDRESS/BITS[,GATEWAY[,DNS...]], with commas between them; in a configuration NAME= or MAC= may be in front',
    byDefault: '10.0.2.15 in the user network, else dhcp',
    flag: {
      words: '--network <how>',
      kind: 'many',
      help: "say how the n-th --net's interface gets its addresses: dhcp, ipv6, none, or ADDRESS/BITS[,GATEWAY]",
    },
  }),
  macAddress: option({
    schema: oneOrMore(z.string().regex(/^[\da-f][02468ace](:[\da-f]{2}){5}$/i, 'expected six bytes in hex, of which the first is even')).optional(),
    scopes: ['run'],
    help: "The hardware address of each --net's interface",
    byDefault: 'one that no other has',
    flag: { words: '--mac-address <address>', kind: 'many', help: "set the hardware address of the n-th --net's interface" },
  }),
  hostname: option({
    schema: z.hostname('expected a host name').max(63).optional(),
    scopes: ['run'],
    help: "The guest's host name",
    byDefault: "the image's name",
    flag: { words: '--hostname <name>', help: "set the guest's host name (the image's)" },
  }),
  hosts: option({
    schema: z.array(z.string().regex(/^[a-zA-Z0-9][\w.-]*:[\da-fA-F.:]+$/, 'expected NAME:ADDRESS')).default([]),
    scopes: ['run'],
    help: "NAME:ADDRESS: further lines of the guest's /etc/hosts",
    flag: { words: '--add-host <name:address>', kind: 'many', help: "add a line to the guest's /etc/hosts" },
  }),
  ntp: option({
    schema: z
      .array(z.union([z.ipv4(), z.ipv6(), z.hostname().max(127)], 'the name or the address of a time server'))
      .max(4, 'at most 4')
      .default([]),
    scopes: ['config'],
    help: 'Time servers, for a machine on its own; without them, those that DHCP names',
  }),
  timeout: option({
    schema: z.number().positive('expected a number above 0').max(TIMEOUT_MAX, `expected at most ${TIMEOUT_MAX}`).optional(),
    scopes: ['config', 'run'],
    help: 'Seconds after which the guest is stopped',
    byDefault: 'none',
    flag: { words: '--timeout <seconds>', kind: 'number', help: 'stop the guest after N seconds (status 124)' },
  }),
  vmm: option({
    schema: names<VmmName>(vmms.names).optional(),
    scopes: ['run'],
    help: 'Virtual machine monitor',
    byDefault: 'qemu',
    flag: { words: '--vmm <name>', choices: vmms.names, help: 'choose the virtual machine monitor (qemu)' },
  }),
  machine: option({
    schema: z.enum(MACHINE_TYPES).optional(),
    scopes: ['run'],
    help: 'The machine: microvm, without PCI; q35, a PC with PCI Express; pc, an older one',
    byDefault: 'microvm, or q35 for a medium',
    flag: { words: '--machine <type>', choices: MACHINE_TYPES, help: 'choose the machine: microvm, q35 or pc (microvm; q35 for a medium)' },
  }),
  firmware: option({
    schema: z.enum(FIRMWARES).optional(),
    scopes: ['run'],
    help: "What a PC starts with: bios; uefi; secure-boot, which takes what Debian's snakeoil key has signed",
    byDefault: 'bios, or uefi for an EFI program',
    flag: {
      words: '--firmware <name>',
      choices: FIRMWARES,
      help: 'choose what a PC starts with: bios, uefi or secure-boot (bios)',
    },
  }),
  diskBus: option({
    schema: z.enum(DISK_BUSES).optional(),
    scopes: ['run'],
    help: 'What the medium that boots is connected to: virtio, scsi, nvme, ahci, ide, usb, pvscsi or sd',
    byDefault: 'virtio, or ahci for a CD',
    flag: {
      words: '--disk-bus <name>',
      choices: DISK_BUSES,
      help: 'choose what the medium that boots is connected to (virtio)',
    },
  }),
  nic: option({
    schema: z.enum(NIC_MODELS).optional(),
    scopes: ['run'],
    help: 'The network card: virtio, e1000, e1000e, rtl8139, vmxnet3 or pcnet',
    byDefault: 'virtio',
    flag: { words: '--nic <model>', choices: NIC_MODELS, help: 'choose the network card (virtio)' },
  }),
  accel: option({
    schema: z.enum(['auto', 'kvm', 'tcg']).optional(),
    scopes: ['run'],
    help: 'Hardware virtualisation or emulation',
    byDefault: 'auto',
    flag: { words: '--accel <how>', choices: ['auto', 'kvm', 'tcg'], help: 'use hardware virtualisation or emulation (auto)' },
  }),
  kernel: option({
    schema: z.enum(['ukl', 'stock']).optional(),
    scopes: ['build'],
    help: 'The kernel: ours, or the unpatched baseline, which runs ring 3 only',
    byDefault: 'ukl',
    flag: { words: '--kernel <which>', choices: ['ukl', 'stock'], help: 'use our kernel, or the same one without the series (ukl)' },
  }),
  ring: option({
    schema: z.union([z.literal(0), z.literal(3)], 'expected 0 or 3').optional(),
    scopes: ['config', 'build'],
    help: 'Privilege level of the program; a 3 given for a build is for all programs',
    byDefault: '0',
    flag: { words: '--ring <n>', kind: 'number', help: 'run the program in ring 0 or 3' },
  }),
  ring0: option({
    schema: z.array(z.string().startsWith('/', 'expected an absolute path of the guest')).default([]),
    scopes: ['config', 'build'],
    help: 'Further programs that run in ring 0 when they are executed, by their paths in the guest',
    flag: { words: '--ring0 <path>', kind: 'many', help: 'run a further program of the guest in ring 0' },
  }),
  libc: option({
    schema: z.enum(['ukl', 'host']).optional(),
    scopes: ['config', 'build'],
    help: "The C library: ours, whose system calls are calls in ring 0, or the host's",
    byDefault: 'ours for sources and for programs that ukl-gcc linked',
    flag: { words: '--libc <which>', choices: ['ukl', 'host'], help: "use our C library, with calls for system calls, or the host's" },
  }),
  check: option({
    schema: z.boolean().default(true),
    scopes: ['config', 'build'],
    help: 'Type errors of a TypeScript program end the build',
    flag: { words: '--no-check', kind: 'off', help: 'run a TypeScript program in spite of type errors' },
  }),
  kernelSource: option({
    schema: z.string().optional(),
    scopes: ['build'],
    help: "A linux-6.12.*.tar.* in place of Debian's",
    flag: { words: '--kernel-source <tarball>', help: "use a linux-6.12.*.tar.* in place of Debian's" },
  }),
  kernelConfig: option({
    schema: z.string().optional(),
    scopes: ['config', 'build'],
    help: 'File of kernel options (CONFIG_XFS_FS=y), on top of ours: drivers, file systems, tracing',
    flag: { words: '--kernel-config <file>', help: 'build the kernel with further options: lines like CONFIG_XFS_FS=y' },
  }),
  profile: option({
    schema: z.enum(['server', 'hardware', 'hello', 'fit']).default('server'),
    scopes: ['config', 'build'],
    help: 'What the kernel is built for: server, any program in a VM; hardware, the same with drivers of real machines and other VMMs; hello, one small program and nothing else; fit, hello with what this program needs',
    flag: {
      words: '--profile <name>',
      choices: ['server', 'hardware', 'hello', 'fit'],
      help: 'build the kernel for any server, for real machines as well, for one small program, or (also --fit) for this one',
    },
  }),
  needs: option({
    schema: words.default([]),
    scopes: ['config'],
    help: 'What a fitted kernel has besides what is found to be needed: features (ipv6, sysvipc, ...), or system calls',
  }),
  kernelArgs: option({
    schema: words.default([]),
    scopes: ['config', 'run'],
    help: "Further words of the kernel's command line",
    flag: { words: '--kernel-arg <word>', kind: 'many', help: "add to the kernel's command line" },
  }),
  container: option({
    schema: names<ContainerName>(containers.names).optional(),
    scopes: ['build'],
    help: containers
      .list()
      .map(({ name, title }) => `${name}: ${title}`)
      .join('; '),
    byDefault: 'bzImage',
    flag: {
      words: '--container <name>',
      choices: containers.names,
      help: 'choose what the image is: bzImage, elf, disk, iso, uki, ... (bzImage)',
    },
  }),
  key: option({
    schema: z.string().min(1).optional(),
    scopes: ['build'],
    help: 'PEM file of the private key that signs what UEFI starts, for Secure Boot',
    flag: { words: '--key <file>', help: 'sign what UEFI starts with this private key (PEM)' },
  }),
  cert: option({
    schema: z.string().min(1).optional(),
    scopes: ['build'],
    help: "PEM file of the key's certificate",
    flag: { words: '--cert <file>', help: "the key's certificate (PEM)" },
  }),
  icount: option({
    schema: z.boolean().optional(),
    scopes: ['run'],
    help: 'Count instructions: a nanosecond of the guest is one (emulation)',
    flag: { words: '--icount', kind: 'switch', help: 'count instructions: a nanosecond of the guest is one (emulation)' },
  }),
  gdb: option({
    schema: z.boolean().optional(),
    scopes: ['run'],
    help: 'Wait for gdb before the first instruction',
    flag: { words: '--gdb', kind: 'switch', help: 'wait for gdb, which then knows the symbols of program and kernel' },
  }),
  verbose: option({
    schema: z.boolean().optional(),
    scopes: ['run'],
    help: "Show the kernel's own log on stderr",
    flag: { words: '-v, --verbose', kind: 'switch', help: "show the kernel's own log" },
  }),
} as const;

export type OptionName = keyof typeof OPTIONS;

type Named<S extends Scope> = { [Key in OptionName]: S extends (typeof OPTIONS)[Key]['scopes'][number] ? Key : never }[OptionName];

/** Nobody changes an option's lists. */
type ReadonlyValue<T> = T extends readonly (infer Element)[] ? readonly Element[] : T extends Record<string, string> ? Readonly<T> : T;

/** The options of a scope, as they are given. */
export type Given<S extends Scope> = { readonly [Key in Named<S>]?: ReadonlyValue<(typeof OPTIONS)[Key]['schema']['_zod']['input']> | undefined };

/** The schemas of a scope, by name. */
export type Shape<S extends Scope> = { [Key in Named<S>]: (typeof OPTIONS)[Key]['schema'] };

/** The names of a scope's options, in the order of their declaration. */
export function optionsIn<S extends Scope>(scope: S): readonly Named<S>[] {
  const all = Object.keys(OPTIONS) as OptionName[];
  return all.filter((name): name is Named<S> => (OPTIONS[name].scopes as readonly Scope[]).includes(scope));
}
