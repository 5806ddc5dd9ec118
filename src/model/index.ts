// SPDX-License-Identifier: MIT

/** What crosses the borders between stages: plain data, never changed. */

/** Which kernel: ours, or the unpatched one that every comparison is made with. */
export type KernelFlavour = 'ukl' | 'stock';

/** The privilege level that the program is meant to run at. */
export type Ring = 0 | 3;

export interface Kernel {
  readonly flavour: KernelFlavour;
  /** "6.12.117" */
  readonly version: string;
  /** Compressed, with KASLR. */
  readonly bzImage: string;
  /** The same with symbols, also bootable through its PVH entry (no KASLR). */
  readonly vmlinux: string;
  readonly config: string;
  /** What modules are built with, if it takes any: the trees of the source and of the build. */
  readonly modules: { readonly source: string; readonly build: string } | undefined;
  readonly hashes: Readonly<Record<string, string>>;
}

/** Our C library: Debian's, with system calls that are calls in ring 0. */
export interface Libc {
  /** "2.36" */
  readonly version: string;
  /** Holds ukl-gcc and ukl-g++. */
  readonly bin: string;
  /** Start files, archives and shared objects, side by side. */
  readonly lib: string;
}

/** The official Node.js, as npm's registry has it. */
export interface NodeRuntime {
  /** "24.21.0" */
  readonly version: string;
  /** Holds a `node` for the host: npm runs under it to build for the guest. */
  readonly bin: string;
  /** The program as it was published, with its symbols. */
  readonly symbols: string;
  /** The same without them: what goes into the image. */
  readonly program: string;
  /** What node-gyp takes as --nodedir. */
  readonly headers: string;
  /** Of the package, as npm checked it. */
  readonly integrity: string;
}

/** A file, directory or symbolic link of the guest. */
export type GuestFile =
  | { readonly guest: string; readonly kind: 'file'; readonly host: string; readonly mode: number; readonly uid?: number; readonly gid?: number }
  | { readonly guest: string; readonly kind: 'data'; readonly data: Uint8Array; readonly mode: number }
  | { readonly guest: string; readonly kind: 'directory'; readonly mode: number; readonly uid?: number; readonly gid?: number }
  | { readonly guest: string; readonly kind: 'symlink'; readonly target: string };

/** A program with all that it needs, before it is in an image. */
export interface App {
  readonly name: string;
  /** The ELF on the host, for symbols. */
  readonly host: string;
  /** Its path in the guest. */
  readonly guest: string;
  /** The name it is called by (some programs go by it: redis-server is a link) and arguments that always follow. */
  readonly command: readonly string[];
  readonly files: readonly GuestFile[];
}

export interface Disk {
  /** A raw image with an ext4 file system. */
  readonly file: string;
  /** Where the guest mounts it. */
  readonly path: string;
}

/** A directory of the host, shared with the guest while it runs. */
export interface Volume {
  readonly directory: string;
  /** Where the guest mounts it. */
  readonly path: string;
}

export interface PortForward {
  readonly host: number;
  readonly guest: number;
  readonly protocol: 'tcp' | 'udp';
}

/** How an image is started unless told otherwise. */
export interface RunDefaults {
  /** After which the guest is ended. */
  readonly timeoutSeconds?: number;
  /** argv[0] and what always follows it. */
  readonly command: readonly string[];
  /** What other arguments may take the place of. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly ports: readonly PortForward[];
  readonly disks: readonly Disk[];
  readonly volumes: readonly Volume[];
}

/** A compressed kernel for any boot loader, with KASLR, or an ELF with a PVH entry for microVMs. */
export type ImageFormat = 'bzImage' | 'elf';

/** Code that goes between the kernel of an image and its initramfs: boot. */
export interface Loaders {
  readonly bzImage: string;
  readonly pvh: string;
}

/** What boots: one file with a kernel, an initramfs and a manifest. */
export interface Image {
  readonly path: string;
  readonly manifest: ImageManifest;
}

export interface ImageManifest {
  readonly format: 4;
  readonly boot: ImageFormat;
  readonly name: string;
  /** Of the program. */
  readonly ring: Ring;
  /** All that runs in ring 0, by path in the guest. */
  readonly ring0: readonly string[];
  readonly program: string;
  /** The program's ELF on the host that built the image, for symbols. */
  readonly programOnHost: string;
  /** What the image tells its kernel. */
  readonly cmdline: string;
  readonly kernel: { readonly flavour: KernelFlavour; readonly version: string; readonly sha256: string; readonly bytes: number };
  readonly initramfs: { readonly sha256: string; readonly bytes: number; readonly files: number; readonly unpackedBytes: number };
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly sha256: string }[];
  readonly run: RunDefaults;
}

/** How a run ended. `code` is the exit status that the tool then has. */
export type RunEnd =
  | { readonly kind: 'exit'; readonly status: number }
  | { readonly kind: 'signal'; readonly signal: number; readonly fault?: Fault; readonly outOfMemory?: boolean }
  | { readonly kind: 'timeout'; readonly seconds: number; readonly where?: string }
  | { readonly kind: 'interrupted'; readonly signal: string }
  | { readonly kind: 'panic'; readonly message: string }
  | { readonly kind: 'triple-fault' }
  /** Somebody in the guest called reboot(): there is no status of the program's. */
  | { readonly kind: 'reboot' }
  | { readonly kind: 'guest-setup'; readonly message: string; readonly hint: string }
  | { readonly kind: 'vmm'; readonly message: string };

/** Where a program died, as the kernel's log tells it. */
export interface Fault {
  readonly address?: string;
  readonly ip: string;
  readonly symbol?: string;
  readonly text: string;
}

export interface RunResult {
  readonly end: RunEnd;
  readonly exitCode: number;
  /** Milliseconds since the VMM was started. */
  readonly timings: { readonly startMs?: number; readonly totalMs: number };
  /** The last records of the kernel's log, where they were asked for or sent. */
  readonly kernelLog: readonly string[];
  /** The guest's serial console. */
  readonly log: string;
}
