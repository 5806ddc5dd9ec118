// SPDX-License-Identifier: MIT
/** A machine of Bochs: a CD with the kernel and an initramfs, two serial ports that are files, and nothing else. */
import { spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeInitramfs } from '../../src/image/initramfs.js';
import { exec, lastLines } from '../../src/lib/exec.js';
import type { GuestFile } from '../../src/model/index.js';
import { type Context, PATIENCE } from '../batch/batch.js';

/** ukl= takes no more names. */
export const MAX_PROGRAMS = 16;

export const PACKAGES = [
  { package: 'bochs', why: 'the emulator', file: '/usr/bin/bochs-bin' },
  { package: 'bochs-term', why: 'a display that needs no window', file: '/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so' },
  { package: 'bochsbios', why: "the emulator's BIOS", file: '/usr/share/bochs/BIOS-bochs-latest' },
  { package: 'xorriso', why: 'makes the CD', file: '/usr/bin/xorriso' },
  { package: 'isolinux', why: 'boots the CD', file: '/usr/lib/ISOLINUX/isolinux.bin' },
  { package: 'syslinux-common', why: 'boots the CD', file: '/usr/lib/syslinux/modules/bios/ldlinux.c32' },
  { package: 'util-linux', why: 'setpriv', file: '/usr/bin/setpriv' },
];

/**
 * Every clock of the machine counts instructions, this many a second, and idle
 * processors skip time. Below that, what a program does every 200 µs takes
 * longer than that; above, the waiting that is not idle takes long for us.
 */
const INSTRUCTIONS_A_SECOND = 100_000_000;
const MEMORY_MIB = 256;
/** A machine that prints nothing for so long is hung. Programs print at least every minute or two on a busy host. */
const SILENCE_MS = 600_000;
const LOOK_MS = 1000;

export interface Machine {
  /** As `bochs --help cpu` lists them. */
  readonly model: string;
  readonly cpus: number;
  readonly kernelArgs: readonly string[];
}

export interface Program {
  /** In the guest. */
  readonly path: string;
  readonly host: string;
}

/** How a program fared. */
export interface Result {
  readonly path: string;
  readonly stdout: string;
  /** "exit 0", "signal 11", or what became of the machine. */
  readonly end: string;
  /** What the kernel printed meanwhile, from "warning" on, and the program on standard error. */
  readonly console: readonly string[];
}

export interface Boot {
  readonly results: readonly Result[];
  /** The console before the first program. */
  readonly console: readonly string[];
  /** How it ended. */
  readonly end: string;
}

async function makeCd(
  work: string,
  bzImage: string,
  init: string,
  programs: readonly Program[],
  kernelArgs: readonly string[],
  { signal }: Context,
): Promise<string> {
  const directory = join(work, 'cd');
  await mkdir(directory);
  await copyFile(bzImage, join(directory, 'kernel'));
  const files = [
    { guest: '/init', kind: 'file', host: init, mode: 0o755 },
    { guest: '/guests', kind: 'data', data: Buffer.from(programs.map(({ path }) => `${path}\n`).join('')), mode: 0o644 },
    ...programs.map(({ path, host }) => ({ guest: path, kind: 'file', host, mode: 0o755 }) as const),
  ] as const satisfies readonly GuestFile[];
  await writeInitramfs(join(directory, 'initrd'), files);
  for (const { file } of PACKAGES.filter(({ why }) => why === 'boots the CD')) await copyFile(file, join(directory, file.slice(file.lastIndexOf('/') + 1)));
  const words = [
    'console=ttyS0,115200',
    // Warnings and worse: the port is slow.
    'loglevel=5',
    // What the model says of itself is the frequency of the real one.
    `tsc_early_khz=${INSTRUCTIONS_A_SECOND / 1000}`,
    'tsc=reliable',
    // MWAIT sleeps through writes of the other processor (docs/notes/bochs.md).
    'idle=halt',
    ...PATIENCE,
    `ukl=${programs.map(({ path }) => path).join(',')}`,
    ...kernelArgs,
  ];
  await writeFile(join(directory, 'isolinux.cfg'), `DEFAULT ukl\nLABEL ukl\nKERNEL kernel\nINITRD initrd\nAPPEND ${words.join(' ')}\n`);
  const cd = join(work, 'cd.iso');
  await exec(
    'xorriso',
    ['-as', 'mkisofs', '-quiet', '-o', cd, '-b', 'isolinux.bin', '-c', 'boot.cat', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table', directory],
    { signal },
  );
  return cd;
}

async function writeConfig(work: string, cd: string, { model, cpus }: Machine): Promise<string> {
  const file = join(work, 'bochsrc');
  const lines = [
    'config_interface: textconfig',
    'display_library: term',
    'romimage: file=/usr/share/bochs/BIOS-bochs-latest',
    'vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest',
    `cpu: model=${model}, count=1:${cpus}:1, ips=${INSTRUCTIONS_A_SECOND}, reset_on_triple_fault=0`,
    `megs: ${MEMORY_MIB}`,
    `ata0-master: type=cdrom, path=${cd}, status=inserted`,
    'boot: cdrom',
    `com1: enabled=1, mode=file, dev=${join(work, 'console')}`,
    `com2: enabled=1, mode=file, dev=${join(work, 'output')}`,
    'speaker: enabled=0',
    'clock: sync=none',
    `log: ${join(work, 'log')}`,
    'panic: action=fatal',
    // Registers that the real processors have and Bochs has not: the kernel asks for them at each tick.
    'error: action=ignore',
    'info: action=ignore',
    'debug: action=ignore',
  ];
  await writeFile(file, lines.map((line) => `${line}\n`).join(''));
  return file;
}

const read = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '');

/** Runs Bochs until the machine turns itself off, dies, or is silent for too long. Returns why it ended. */
async function runBochs(work: string, config: string, onProgram: (path: string) => void, { signal }: Context): Promise<string> {
  signal.throwIfAborted();
  // Its own group: the debugger that Debian's Bochs has would take a Ctrl-C. If we are killed, the kernel ends it.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'bochs-bin', '-q', '-f', config], {
    stdio: ['pipe', 'ignore', 'pipe'],
    detached: true,
    env: { ...process.env, TERM: 'vt100' },
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString('latin1');
  });
  child.stdin.on('error', () => {}); // it is gone: 'close' tells
  // The debugger's commands: go, and when the machine has stopped, leave.
  child.stdin.end('c\nquit\n');
  // It ignores SIGTERM.
  const kill = (): boolean => child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  let hung = false;
  let size = -1;
  let heard = performance.now();
  const look = async (): Promise<void> => {
    const output = await read(join(work, 'output'));
    const now = output.length + (await read(join(work, 'console'))).length;
    if (now !== size) {
      size = now;
      heard = performance.now();
    } else if (performance.now() - heard > SILENCE_MS) {
      hung = true;
      kill();
    }
    const path = output
      .match(/^== \/\S+$/gm)
      ?.at(-1)
      ?.slice(3);
    if (path !== undefined) onProgram(path);
  };
  const timer = setInterval(() => void look(), LOOK_MS);
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', () => resolve());
    });
  } finally {
    clearInterval(timer);
    signal.removeEventListener('abort', kill);
  }
  signal.throwIfAborted();
  if (hung) return `hung: silent for ${SILENCE_MS / 1000} s`;
  const panic = /^\d+p\[.*$/m.exec(await read(join(work, 'log')))?.[0].replace(/^\d+p/, '');
  return panic ?? `Bochs: ${lastLines(errors, 3)}`;
}

/** The console's lines by program. What comes before the first one has the key ''. */
function splitConsole(text: string): Map<string, string[]> {
  const parts = new Map<string, string[]>([['', []]]);
  let current = '';
  for (const line of text.replaceAll('\r', '').split('\n')) {
    const path = /== (\/\S+)$/.exec(line)?.[1];
    if (path !== undefined) {
      current = path;
      parts.set(path, []);
    } else if (line !== '') parts.get(current)?.push(line);
  }
  return parts;
}

/** What both ports said, by program. A program without an end has the machine's. */
export function readPorts(output: string, console: string, end: string): Boot {
  const parts = splitConsole(console);
  const results = output
    .split(/^== (?=\/)/m)
    .slice(1)
    .map((text): Result => {
      const path = text.slice(0, text.indexOf('\n'));
      const [, stdout, how] = /^.*\n([^]*?)\n== ((?:exit|signal) \d+)\n/.exec(text) ?? [];
      return { path, stdout: stdout ?? text.slice(path.length + 1), end: how ?? `machine: ${end}`, console: parts.get(path) ?? [] };
    });
  return { results, console: parts.get('') ?? [], end };
}

/** One boot, with at most MAX_PROGRAMS. What both ports said is kept as the files `keep`.console and .output. */
export async function boot(
  machine: Machine,
  bzImage: string,
  init: string,
  programs: readonly Program[],
  keep: string,
  onProgram: (path: string) => void,
  context: Context,
): Promise<Boot> {
  const work = await mkdtemp(join(tmpdir(), 'ukl-bochs-'));
  try {
    const cd = await makeCd(work, bzImage, init, programs, machine.kernelArgs, context);
    const end = await runBochs(work, await writeConfig(work, cd, machine), onProgram, context);
    return readPorts(await read(join(work, 'output')), await read(join(work, 'console')), end);
  } finally {
    // Of an interrupted machine as well: who gives up on one wants to know where it was.
    await writeFile(`${keep}.output`, await read(join(work, 'output')));
    await writeFile(`${keep}.console`, await read(join(work, 'console')));
    await rm(work, { recursive: true, force: true });
  }
}
