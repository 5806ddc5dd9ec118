// SPDX-License-Identifier: MIT
/** From an image and options to a machine: all that a run will do, before it is done. */
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import { CMDLINE_MAX } from '../containers/bzimage.js';
import type { ImageContainer } from '../containers/container.js';
import { imageContainer } from '../containers/index.js';
import { parseAttached } from '../devices/data.js';
import { resolveDisk, splitDisk } from '../devices/disk.js';
import { netKind, parseNetwork, parseNic, tellApart } from '../devices/nic.js';
import { choosePorts, parsePort } from '../devices/ports.js';
import { resolveVolume, splitVolume } from '../devices/volume.js';
import { getBacklog } from '../guest/programs.js';
import { encodeSpec, hostnameOf, type Terminal } from '../guest/spec.js';
import { commandWord, hostWords, networkProblem, networkWord, variableWord, wordProblem } from '../image/kmain.js';
import { hasFeature } from '../kernels/fit.js';
import { findKernel } from '../kernels/kernel.js';
import { align } from '../lib/align.js';
import { asUklError, UklError } from '../lib/errors.js';
import { type Log, silentLog } from '../lib/log.js';
import { shellWord } from '../lib/shell.js';
import { formatSize, parseSize } from '../lib/size.js';
import type {
  AttachedDisk,
  BootProtocol,
  Disk,
  Firmware,
  Image,
  KernelProfile,
  Machine,
  MachineType,
  Network,
  Nic,
  NicModel,
  PortForward,
  Transport,
  Volume,
} from '../model/index.js';
import { isSmall } from '../model/kernel.js';
import type { RunOptions } from '../options/given.js';
import { vmms } from '../vmms/index.js';
import { busesOf, mostOf, nicsOf } from '../vmms/qemu/devices.js';
import type { Bootable, Vmm } from '../vmms/vmm.js';
import { kernelCmdline } from './cmdline.js';
import { checkDrivers } from './drivers.js';
import { checkSupport } from './support.js';

/** What a run will do. */
export interface RunPlan {
  readonly image: Image;
  readonly vmm: Vmm;
  readonly machine: Machine;
  /** The library that the VMM is started with, if it listens on a port. */
  readonly preload: string | undefined;
  readonly accelWhy: string;
  /** The VMM's command line, to copy; sockets are in `$DIR`. */
  readonly command: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutSeconds: number | undefined;
  /** What the guest's init configures. */
  readonly networks: readonly Network[];
  readonly hostname: string | undefined;
  readonly hosts: readonly string[];
  readonly terminal: Terminal | undefined;
}

/** What the kernel and its page tables take besides the program's files, in MiB. */
const KERNEL_MIB: Readonly<Record<KernelProfile, number>> = { server: 56, hardware: 96, hello: 9 };

/** What our init, with the devices that it speaks to the host by, takes on a small kernel besides. */
const SMALL_INIT_MIB = 19;

/**
 * What memory an image's files need, in MiB. The archive and the files that are
 * copied out of it are in memory together for a while. A tmpfs takes at most half of
 * what is free when it is mounted (mm/shmem.c), and the archive's is not.
 */
function memoryFor({ manifest }: Image): { readonly tmpfs: number; readonly ramfs: number } {
  const { unpackedBytes, inPlaceBytes, bytes } = manifest.initramfs;
  const { profile, flavour } = manifest.kernel;
  const copied = unpackedBytes - (flavour === 'ukl' ? inPlaceBytes : 0);
  const kernel = KERNEL_MIB[profile] + (isSmall(profile) && manifest.init.kind === 'init' ? SMALL_INIT_MIB : 0);
  const mib = (count: number): number => kernel + Math.ceil(count / 1024 ** 2);
  return { tmpfs: mib(bytes + 2 * copied), ramfs: mib(bytes + copied) };
}

/** For a program of which nothing is known but its files. */
const PROGRAM_MIB = 16;

/** A container's program may be any. */
const CONTAINER_MIB = 192;

const defaultMemory = (image: Image): number => align(memoryFor(image).tmpfs + (image.manifest.runtime === 'container' ? CONTAINER_MIB : PROGRAM_MIB), 4);

function checkMemory(image: Image, memoryMiB: number): void {
  const need = memoryFor(image).ramfs;
  if (memoryMiB >= need) return;
  const { unpackedBytes } = image.manifest.initramfs;
  throw new UklError('UKL_MEMORY', `${memoryMiB} MiB are too little: the image's ${formatSize(unpackedBytes)} of files need at least ${need} MiB`, {
    hint: `-M ${need}M`,
  });
}

function checkCmdline(words: string): void {
  const bytes = Buffer.byteLength(words);
  if (bytes > CMDLINE_MAX)
    throw new UklError('UKL_USAGE', `the kernel's command line has ${bytes} bytes; ${CMDLINE_MAX} are possible`, { hint: 'fewer or shorter --kernel-arg' });
}

/** Without a compiler, or below a path that LD_PRELOAD cannot have, a few clients at a time are all that can connect. */
async function preloadable(context: { readonly log: Log; readonly signal: AbortSignal | undefined }): Promise<string | undefined> {
  try {
    const library = await getBacklog(context);
    if (!/[\s:]/.test(library)) return library;
    context.log.warn(`${library} has blanks or colons: many clients at once will be refused`);
  } catch (error) {
    context.signal?.throwIfAborted();
    context.log.warn(`many clients at once will be refused: ${asUklError(error).message}`);
  }
  return undefined;
}

/** The image's own disks and volumes, and those of the options. An image from elsewhere has its own beside it. */
function storageOf({ path, manifest, host, beside }: Image, options: RunOptions): { readonly disks: Disk[]; readonly volumes: Volume[] } {
  const directory = host?.directory ?? beside ?? dirname(path);
  // An image from elsewhere may not choose what it gets of this host.
  const outside = [...manifest.run.disks.map(({ file }) => file), ...manifest.run.volumes.map(({ directory: shared }) => shared)].find(
    (word) => isAbsolute(word) || relative(directory, resolve(directory, word)).startsWith('..'),
  );
  if (host === undefined && outside !== undefined) {
    throw new UklError('UKL_IMAGE', `the image was built elsewhere and asks for ${outside}, which is not beside it`, {
      hint: 'build it here, or keep its disks and volumes in its own directory',
    });
  }
  const here = process.cwd();
  return {
    disks: [...manifest.run.disks.map((disk) => resolveDisk(disk, directory)), ...(options.disks ?? []).map((disk) => resolveDisk(splitDisk(disk), here))],
    volumes: [
      ...manifest.run.volumes.map((volume) => resolveVolume(volume, directory)),
      ...(options.volumes ?? []).map((volume) => resolveVolume(splitVolume(volume), here)),
    ],
  };
}

/** Throws UKL_USAGE if two of a run's ports, disks or places are one. */
function checkTwice(ports: readonly PortForward[], disks: readonly Disk[], volumes: readonly Volume[]): void {
  const refuse = (what: string, words: readonly string[]): void => {
    const twice = words.find((word, index) => words.indexOf(word) !== index);
    if (twice !== undefined) throw new UklError('UKL_USAGE', `${what} ${twice} is given twice`, { hint: 'the image may have it already: ukl inspect IMAGE' });
  };
  refuse(
    'host port',
    ports.filter(({ host }) => host !== 0).map(({ address, host, protocol }) => `${address}:${host}/${protocol}`),
  );
  refuse(
    'disk',
    disks.map(({ file }) => file),
  );
  refuse(
    'the path in the guest',
    [...disks, ...volumes].map(({ path }) => path),
  );
}

/** Throws UKL_USAGE if a run asks for what the image's kernel was built without. */
function checkKernel({ manifest: { kernel, name } }: Image, asked: { readonly net: boolean; readonly smp: boolean }): void {
  const lacking = (['net', 'smp'] as const).find((feature) => asked[feature] && !hasFeature(kernel.profile, kernel.fit, feature));
  if (lacking === undefined) return;
  const what = lacking === 'net' ? 'a network' : 'support for several processors';
  throw new UklError('UKL_USAGE', `the kernel of ${name} was built without ${what}`, { hint: `--fit, with needs: ['${lacking}'] in ukl.config` });
}

/** A kernel to try KVM with: the image's own, or where that is in a medium, the same from the store. */
async function bootableOf({ path, manifest }: Image, container: ImageContainer): Promise<Bootable | undefined> {
  const id = manifest.kernel.sha256;
  if (container.kind === 'kernel') return { boot: container.boot, kernel: path, id };
  const kernel = await findKernel(id);
  return kernel === undefined ? undefined : { boot: 'pvh', kernel, id };
}

const usualMachine = (boot: BootProtocol): MachineType => (boot === 'linux' || boot === 'pvh' ? 'microvm' : 'q35');

function usualFirmware(boot: BootProtocol, type: MachineType): Firmware {
  if (boot === 'efi') return 'uefi';
  return type === 'microvm' ? 'none' : 'bios';
}

/** Throws UKL_USAGE for words that nobody can add to a medium's own. */
function refuseWords({ manifest }: Image, { kernelArgs = [], gdb, icount, verbose }: RunOptions): void {
  const asked = kernelArgs.length > 0 ? '--kernel-arg' : gdb ? '--gdb' : icount ? '--icount' : verbose ? '--verbose' : undefined;
  if (asked === undefined) return;
  throw new UklError('UKL_USAGE', `a ${manifest.container} has its own words for the kernel: ${asked} cannot add to them`, {
    hint: 'kernelArgs in ukl.config, or run the program itself with --machine',
  });
}

/** Throws UKL_USAGE for a network card that the machine cannot have. */
function nicModelOf({ nic = 'virtio' }: RunOptions, type: MachineType): NicModel {
  if (nicsOf(type).includes(nic)) return nic;
  throw new UklError('UKL_USAGE', `a ${type} takes no ${nic}`, { hint: `--nic ${nicsOf(type).join(', ')}` });
}

/** What boots the machine. Throws UKL_USAGE for a medium that no machine can be given, or not this one. */
function payloadOf({ path }: Image, container: ImageContainer, cmdline: string, type: MachineType, { diskBus }: RunOptions): Machine['payload'] {
  const { boot } = container;
  if (boot !== 'disk' && boot !== 'cdrom') {
    if (diskBus !== undefined) throw new UklError('UKL_USAGE', `a ${container.name} is not on a disk: --disk-bus has no meaning`, { hint: '--container disk' });
    // A unified kernel image has its words in it.
    return { boot, kernel: path, cmdline: boot === 'efi' ? '' : cmdline };
  }
  const format = container.kind === 'medium' ? container.format : undefined;
  if (format === undefined)
    throw new UklError('UKL_USAGE', `${container.name} is a format to import, not to run`, {
      hint: container.name === 'update' ? '/.ukl/update in a guest that takes it; --container disk to run here' : 'ukl deploy, or --container disk to run here',
    });
  const bus = diskBus ?? (boot === 'cdrom' ? (type === 'pc' ? 'ide' : 'ahci') : 'virtio');
  if (!busesOf(type).includes(bus)) throw new UklError('UKL_USAGE', `a ${type} has no ${bus} for disks`, { hint: `--disk-bus ${busesOf(type).join(', ')}` });
  return { boot, file: path, format, bus };
}

/** The disks that a run gives the machine. Throws UKL_USAGE for a bus that it lacks, or that is full. */
function attachedOf({ attach = [] }: RunOptions, payload: Machine['payload'], type: MachineType): AttachedDisk[] {
  const all = attach.map((word) => parseAttached(word));
  for (const { bus } of all) {
    if (!busesOf(type).includes(bus)) {
      throw new UklError('UKL_USAGE', `a ${type} has no ${bus} for disks`, {
        hint: type === 'microvm' ? `--machine q35, or ${busesOf(type).join(', ')}` : busesOf(type).join(', '),
      });
    }
    const count = all.filter((one) => one.bus === bus).length + ('bus' in payload && payload.bus === bus ? 1 : 0);
    if (count > mostOf(bus)) throw new UklError('UKL_USAGE', `a ${type} takes ${mostOf(bus)} drives by ${bus}, not ${count}`, { hint: 'another bus for some' });
  }
  return all;
}

/** What a run changes of what is in the words of an image without init. Throws UKL_USAGE. */
function kmainOverrides({ manifest: { program, run, name } }: Image, options: RunOptions, networks: readonly Network[]): string[] {
  const { args, env, disks, volumes } = options;
  const wanted = { ...run, args: args && args.length > 0 ? [...args] : run.args, env: { ...run.env, ...env } };
  const asked = [
    [disks, 'a disk'],
    [volumes, 'a volume'],
    [options.hosts, '--add-host'],
  ] as const;
  const given = asked.find(([words]) => (words ?? []).length > 0)?.[1] ?? (options.hostname === undefined ? undefined : '--hostname');
  const refused = given ?? networkProblem(networks) ?? wordProblem(program, wanted);
  if (refused !== undefined)
    throw new UklError('UKL_USAGE', `${name} starts without an init, which ${refused} would need`, { hint: "build it with the profile 'server'" });
  return [
    ...hostWords,
    ...(wanted.args === run.args ? [] : [commandWord(program, [...run.command, ...wanted.args])]),
    ...Object.entries(env ?? {}).map(([key, value]) => variableWord(key, value)),
    ...(options.network === undefined && options.net === undefined ? [] : networks.length === 0 ? ['ip=off'] : networkWord(networks)),
  ];
}

/** How the guest's interfaces get their addresses: a user network's are known; in others, as the image says, or by DHCP. Throws UKL_USAGE. */
function networksOf({ manifest: { run } }: Image, nets: readonly string[], nics: readonly (Nic | undefined)[], { network }: RunOptions, vmm: Vmm): Network[] {
  const given = [network ?? []].flat();
  if (given.length > nets.length)
    throw new UklError('UKL_USAGE', `${given.length} --network for ${nets.length} --net`, { hint: 'the n-th --network belongs to the n-th --net' });
  const named = given.find((word) => word.includes('='));
  if (named !== undefined)
    throw new UklError('UKL_USAGE', `'${named}' names an interface, which has its place by --net`, { hint: 'the n-th --network belongs to the n-th --net' });
  const several = nics.filter((nic) => nic !== undefined).length > 1;
  const own = run.network.map((text, index) => ({
    name: text.includes('=') ? text.slice(0, text.indexOf('=')) : `eth${index}`,
    text: text.slice(text.indexOf('=') + 1),
  }));
  let nth = 0;
  return nets.flatMap((_, index) => {
    const nic = nics[index];
    if (nic === undefined && (given[index] ?? 'none') !== 'none')
      throw new UklError('UKL_USAGE', `--network ${given[index]} is for an interface, and the guest has none there`, { hint: '--net tap:NAME' });
    if (nic === undefined) return [];
    const name = `eth${nth++}`;
    const text = given[index] ?? (nic.kind === 'user' ? undefined : (own.find((one) => one.name === name)?.text ?? 'dhcp'));
    const how = text === undefined && nic.kind === 'user' ? vmm.userNetwork(nic.nth) : parseNetwork(text ?? 'dhcp');
    if (how === undefined) return [];
    return [several ? { ...how, interface: name, mac: nic.mac } : how];
  });
}

/** The guest's interfaces, one for each --net but "none". Ports lead to the first user network. */
function nicsFor(nets: readonly string[], ports: readonly PortForward[], accel: Machine['accel'], { macAddress }: RunOptions): readonly (Nic | undefined)[] {
  const given = [macAddress ?? []].flat();
  if (given.length > nets.length)
    throw new UklError('UKL_USAGE', `${given.length} --mac-address for ${nets.length} --net`, { hint: 'the n-th --mac-address belongs to the n-th --net' });
  const first = nets.findIndex((net) => netKind(net) === 'user');
  let nth = 0;
  const nics = nets.map((net, index) => parseNic(net, index === Math.max(first, 0) ? ports : [], accel, netKind(net) === 'user' ? nth++ : 0));
  const apart = [...tellApart(nics.filter((nic) => nic !== undefined))];
  return nics.map((nic, index) => {
    const made = nic === undefined ? undefined : apart.shift();
    const mac = given[index]?.toLowerCase();
    return made === undefined || mac === undefined ? made : { ...made, mac };
  });
}

/** Throws UklError: what was asked for cannot be had. Nothing is started yet. */
export async function plan(image: Image, options: RunOptions): Promise<RunPlan> {
  const log = options.log ?? silentLog;
  const { manifest } = image;
  const { run } = manifest;
  const vmm = vmms.get(options.vmm ?? 'qemu');
  const container = imageContainer(manifest.container);
  const memoryMiB = options.memory === undefined ? (run.memoryMiB ?? defaultMemory(image)) : Math.ceil(parseSize(options.memory) / 1024 ** 2);
  const nets = [options.net ?? (vmm.supports.nics.includes('user') ? 'user' : 'none')].flat();
  const kinds = nets.map(netKind).filter((kind) => kind !== 'none');
  // In another network the image's own ports need no forwarding.
  const wanted = [...(kinds.includes('user') && options.imagePorts !== false ? run.ports : []), ...(options.ports ?? []).map(parsePort)];
  const { disks, volumes } = storageOf(image, options);
  const transport: Transport = manifest.init.kind === 'kmain' ? 'isa' : vmm.supports.transports.includes('virtio-serial') ? 'virtio-serial' : 'console';
  const type = options.machine ?? usualMachine(container.boot);
  const firmware = options.firmware ?? usualFirmware(container.boot, type);
  checkSupport(vmm, {
    machine: type,
    firmware,
    small: isSmall(manifest.kernel.profile),
    container,
    options,
    transport,
    disks: disks.length,
    volumes: volumes.length,
    ports: wanted.length,
    nets: kinds,
  });
  checkTwice(wanted, disks, volumes);
  checkKernel(image, { net: wanted.length > 0 || kinds.some((kind) => kind !== 'user'), smp: (options.cpus ?? run.cpus) > 1 });
  if (!options.anyMemory) checkMemory(image, memoryMiB);
  const ports = await choosePorts(wanted);
  ports.forEach((port, index) => {
    if (wanted[index]?.host === 0) log.info(`${port.address}:${port.host} leads to port ${port.guest} of the guest`);
  });
  const { accel, why } = await vmm.chooseAccel(options.icount ? 'tcg' : (options.accel ?? 'auto'), await bootableOf(image, container), log);
  if (options.cpu !== undefined) await vmm.checkCpu(options.cpu, accel);
  const icount = options.icount ?? false;
  const nics = nicsFor(nets, ports, accel, options);
  const networks = networksOf(image, nets, nics, options, vmm);
  const cmdline = kernelCmdline({
    accel,
    transport,
    networks,
    gdb: options.gdb ?? false,
    verbose: options.verbose ?? false,
    icount,
    root: memoryMiB < memoryFor(image).tmpfs ? 'ramfs' : 'tmpfs',
    knowsTimer: manifest.kernel.flavour === 'ukl',
    extra: [
      ...(manifest.init.kind === 'kmain'
        ? kmainOverrides(image, options, networks)
        : manifest.kernel.fit === undefined
          ? []
          : ['report_enosys=1', 'loglevel=5']),
      ...(options.kernelArgs ?? []),
    ],
  });
  const payload = payloadOf(image, container, cmdline, type, options);
  const machine: Machine = {
    type,
    firmware,
    nicModel: nicModelOf(options, type),
    payload,
    memoryMiB,
    cpus: options.cpus ?? run.cpus,
    cpu: options.cpu ?? vmm.defaultCpu(accel),
    accel,
    nics: nics.filter((nic) => nic !== undefined),
    disks: disks.map((disk, index) => ({ ...disk, serial: `ukl${index}` })),
    attached: attachedOf(options, payload, type),
    shares: volumes.map((volume, index) => ({ ...volume, tag: `ukl${index}` })),
    devices: isSmall(manifest.kernel.profile) ? [] : ['rng'],
    legacy: !isSmall(manifest.kernel.profile),
    console: 'serial',
    transport,
    icount,
    plugin: options.plugin,
  };
  await checkDrivers(image, machine);
  if (container.kind === 'kernel') checkCmdline(`${manifest.cmdline} ${cmdline}`);
  else refuseWords(image, options);
  const preload = ports.length === 0 ? undefined : await preloadable({ log, signal: options.signal });
  return {
    image,
    vmm,
    machine,
    preload,
    accelWhy: why,
    command: vmm.command(machine, { directory: '$DIR', preload }).map(shellWord).join(' '),
    // Extra arguments take the place of the image's.
    argv: [...run.command, ...(options.args && options.args.length > 0 ? options.args : run.args)],
    env: { ...run.env, ...options.env },
    timeoutSeconds: options.timeout ?? run.timeoutSeconds,
    networks,
    hostname: options.hostname,
    hosts: options.hosts ?? [],
    terminal: options.terminal,
  };
}

/** What the guest's init is told for this run. */
export function specOf({ image, machine, argv, env, networks, hostname, hosts, terminal }: RunPlan): Buffer {
  const { name, program, run } = image.manifest;
  return encodeSpec({
    exec: program,
    argv,
    fixed: run.command.length,
    hostname: hostnameOf(hostname ?? name),
    hosts,
    networks,
    // With counted instructions time is not the host's, and a question would not be answered after the same number of them.
    clock: !machine.icount,
    disks: machine.disks.map(({ serial, path }) => ({ serial, path })),
    volumes: machine.shares.map(({ tag, path }) => ({ tag, path })),
    data: run.data,
    run: { env, cwd: run.cwd, watchdogSeconds: run.watchdogSeconds, user: run.user },
    ring: image.manifest.ring,
    terminal,
  });
}
