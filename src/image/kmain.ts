// SPDX-License-Identifier: MIT
/** The program's start without an init: kmain() in the kernel, Documentation/arch/x86/kmain.rst of the series. */

import { parseNetwork } from '../devices/nic.js';
import type { GuestFile, ImageManifest, KernelFlavour, KernelProfile, Network, RunDefaults } from '../model/index.js';
import { isSmall } from '../model/kernel.js';
import { REPORT_PORT } from '../model/machine.js';

/** The second serial port. */
const OUTPUT = '/dev/ttyS1';

/** The kernel takes 32 variables for its init (CONFIG_INIT_ENV_ARG_LIMIT), two of them its own. */
const MAX_VARIABLES = 24;

/** What kernel/params.c takes as the value of a parameter that is a string. */
const MAX_COMMAND = 1024;

export interface KmainParts {
  readonly program: string;
  readonly hostname: string;
  readonly networks: readonly Network[];
  readonly run: RunDefaults;
}

export interface StartNeeds extends Pick<KmainParts, 'program' | 'run'> {
  readonly flavour: KernelFlavour;
  readonly profile: KernelProfile;
  readonly runtime: ImageManifest['runtime'];
  /** Names of the calls that the program makes, as far as they are known. */
  readonly calls: ReadonlySet<string>;
}

/** They open what our init mounts. */
const MOUNTED = ['openpty', 'forkpty', 'posix_openpt', 'shm_open', 'sem_open'];

/** Why a program needs our init; undefined if kmain() does. */
export function needsInit({ flavour, profile, runtime, calls, program, run }: StartNeeds): string | undefined {
  const mounted = MOUNTED.find((name) => calls.has(name));
  const network = networkProblem(run.network.flatMap((text, index) => parseNetwork(text, index) ?? []));
  const reasons: readonly (readonly [boolean, string])[] = [
    [flavour !== 'ukl', 'the stock kernel has no kmain()'],
    [!isSmall(profile), `the profile '${profile}' has streams and signals from the host`],
    [runtime === 'node', 'Node.js reads /proc and /sys'],
    [run.disks.length > 0, 'a disk is to be mounted'],
    [run.volumes.length > 0, 'a volume is to be mounted'],
    [run.data.length > 0, 'a disk is to be mounted'],
    [run.cwd !== '/', 'the working directory is not /'],
    [run.user !== undefined, 'the image says whom the program runs as'],
    [network !== undefined, `${network} is not the kernel's own affair`],
    [run.ntp.length > 0, 'time servers are to be asked'],
    [mounted !== undefined, `${mounted}() opens what is below /dev/pts or /dev/shm`],
  ];
  return reasons.find(([is]) => is)?.[1] ?? wordProblem(program, run);
}

/** The kernel's isspace() takes a byte of many UTF-8 characters for a blank as well (lib/ctype.c). */
const hasBlank = (word: string): boolean => /\s/.test(word) || Buffer.from(word).includes(0xa0);

/** What of arguments and variables the kernel's command line cannot carry. */
export function wordProblem(program: string, { command, args, env }: Pick<RunDefaults, 'command' | 'args' | 'env'>): string | undefined {
  const argv = [...command, ...args];
  if ([program, ...argv].some((word) => word === '' || word.includes('"') || hasBlank(word))) return 'an argument that is empty, or has a blank or a quote,';
  if (Buffer.byteLength(commandWord(program, argv)) > MAX_COMMAND) return `arguments of more than ${MAX_COMMAND} bytes`;
  const odd = Object.entries(env).find(([name, value]) => !/^[A-Z_][A-Z0-9_]*$/.test(name) || /["\n]/.test(value));
  if (odd !== undefined) return `the variable ${odd[0]}, not of the form NAME=value,`;
  return Object.keys(env).length > MAX_VARIABLES ? `more than ${MAX_VARIABLES} variables` : undefined;
}

export const variableWord = (name: string, value: string): string => (hasBlank(value) ? `"${name}=${value}"` : `${name}=${value}`);

/** What the kernel's own configuration of interfaces cannot do. */
export function networkProblem(networks: readonly Network[]): string | undefined {
  if (networks.length > 1) return 'a second network interface';
  const [network] = networks;
  if (network?.dhcp) return 'DHCP';
  if (network?.ipv6 || network?.addresses.some((address) => address.includes(':'))) return 'IPv6';
  if (network?.mac !== undefined) return 'an interface by its MAC';
  return (network?.addresses ?? []).length > 1 ? 'a second address' : undefined;
}

/** The kernel's own configuration of an interface: Documentation/admin-guide/nfs/nfsroot.rst. */
export function networkWord([network]: readonly Network[]): string[] {
  const [address = '', bits = '24'] = network?.addresses[0]?.split('/') ?? [];
  if (address === '') return [];
  const mask = [0, 1, 2, 3].map((index) => 256 - 2 ** (8 - Math.min(8, Math.max(0, Number(bits) - 8 * index)))).join('.');
  return [`ip=${address}::${network?.gateways[0] ?? ''}:${mask}::${network?.interface ?? 'eth0'}:off`];
}

/**
 * The program with its arguments, as kmain= has them: the later of two words counts.
 * What it is started as is its name to itself, and may be a link to the file.
 */
export const commandWord = (program: string, [name = '', ...args]: readonly string[]): string =>
  `kmain="${[name.startsWith('/') ? name : program, ...args].join(' ')}"`;

/** Words for the kernel in place of init and its spec. */
export function kmainWords({ program, hostname, networks, run }: KmainParts): string[] {
  return [
    commandWord(program, [...run.command, ...run.args]),
    `hostname=${hostname}`,
    ...networkWord(networks),
    ...Object.entries(run.env).map(([name, value]) => variableWord(name, value)),
  ];
}

/** What a host adds that has the ports; without it, the console is all that there is. */
export const hostWords: readonly string[] = [`kmain.output=${OUTPUT}`, `kmain.port=${REPORT_PORT}`, 'report_enosys=1'];

/** What init would make or the kernel, without devtmpfs, does not. */
export function kmainFiles(networks: readonly Network[]): GuestFile[] {
  const device = (name: string, mode: number, major: number, minor: number): GuestFile => ({ guest: `/dev/${name}`, kind: 'device', mode, major, minor });
  const servers = networks.flatMap(({ dns }) => dns);
  return [
    // Documentation/admin-guide/devices.txt
    device('console', 0o600, 5, 1),
    device('null', 0o666, 1, 3),
    device('zero', 0o666, 1, 5),
    device('full', 0o666, 1, 7),
    device('random', 0o666, 1, 8),
    device('urandom', 0o666, 1, 9),
    device('tty', 0o666, 5, 0),
    device('ttyS0', 0o600, 4, 64),
    device('ttyS1', 0o600, 4, 65),
    ...(servers.length === 0
      ? []
      : [{ guest: '/etc/resolv.conf', kind: 'data' as const, data: Buffer.from(servers.map((server) => `nameserver ${server}\n`).join('')), mode: 0o644 }]),
  ];
}
