// SPDX-License-Identifier: MIT
import { z } from 'zod';
import { REMOTE_TYPES } from './machine.js';

/** How a kernel and an initramfs are one file. `src/containers` has the registry. */
export const CONTAINER_NAMES = ['bzImage', 'elf', 'disk', 'qcow2', 'vhd', 'vmdk', 'ova', 'gce-tar', 'iso', 'uki', 'update', 'oci'] as const;
export type ContainerName = (typeof CONTAINER_NAMES)[number];

const whole = (low: number, high: number): z.ZodInt => z.int().min(low).max(high);
const bytes = whole(0, Number.MAX_SAFE_INTEGER);

const port = z.object({
  address: z.string().regex(/^((\d{1,3}\.){3}\d{1,3}|\[[0-9a-f:]+\])$/),
  host: whole(0, 65535),
  guest: whole(1, 65535),
  protocol: z.enum(['tcp', 'udp']),
});

/** In seconds: Node.js' timers count milliseconds in 31 bits. */
export const TIMEOUT_MAX = 2_000_000;

/** How an image is started unless told otherwise. */
const runDefaults = z.object({
  /** Seconds after which the guest is stopped. */
  timeoutSeconds: z.number().positive().max(TIMEOUT_MAX).optional(),
  /** argv[0] and what always follows it. */
  command: z.array(z.string()),
  /** What other arguments may take the place of. */
  args: z.array(z.string()),
  env: z.record(z.string(), z.string()),
  cwd: z.string(),
  /** Whom the program runs as; root without it. */
  user: z.object({ uid: whole(0, 2 ** 32 - 2), gid: whole(0, 2 ** 32 - 2), groups: z.array(whole(0, 2 ** 32 - 2)) }).optional(),
  /** What asks the program to end, if it is not SIGTERM. */
  stopSignal: z.string().optional(),
  /** Ports that the program says it listens on; none is forwarded for that. */
  exposed: z.array(z.string()).default([]),
  /** Without it, what the image's files and its kernel take, and some more. */
  memoryMiB: whole(1, 2 ** 24).optional(),
  cpus: whole(1, 64),
  /** Seconds after which the machine's watchdog restarts one that has hung. */
  watchdogSeconds: whole(1, 3600).optional(),
  ports: z.array(port),
  /** How its interfaces get their addresses where nobody says otherwise, as --network has it. */
  network: z.array(z.string()).default([]),
  /** Time servers, where no tool tells the time. */
  ntp: z.array(z.string()).default([]),
  /** Files and directories are relative, as the configuration has them: to the project, or to the image where there is none. */
  disks: z.array(z.object({ file: z.string(), path: z.string() })),
  volumes: z.array(z.object({ directory: z.string(), path: z.string(), readonly: z.boolean().optional() })),
  /** Of the machine's own disks, and of other machines. */
  data: z
    .array(
      z.object({
        ...{ source: z.string(), path: z.string(), make: z.enum(['ext4', 'xfs', 'btrfs']).optional() },
        remote: z.object({ type: z.enum(REMOTE_TYPES), options: z.string() }).optional(),
      }),
    )
    .default([]),
});

/** What the end of an image's file says about it. Nothing in it depends on the host that built it. */
export const imageManifest = z.object({
  format: z.literal(5),
  container: z.enum(CONTAINER_NAMES),
  name: z.string(),
  runtime: z.enum(['native', 'node', 'container']),
  /** Of the program. */
  ring: z.union([z.literal(0), z.literal(3)]),
  /** All that runs in ring 0, by path in the guest. */
  ring0: z.array(z.string()),
  program: z.string(),
  /** The words for the kernel that are in the image. */
  cmdline: z.string(),
  kernel: z.object({
    line: z.literal('6.12'),
    flavour: z.enum(['ukl', 'stock']),
    profile: z.enum(['server', 'hardware', 'hello']),
    version: z.string(),
    sha256: z.string(),
    bytes,
    /** The load that it was optimised for. */
    optimizedFor: z.string().optional(),
    /** Of a kernel that was fitted to the program: what it has besides the profile's, why, and what it lacks. */
    fit: z.object({ has: z.array(z.object({ feature: z.string(), why: z.string() })), leftOut: z.array(z.string()) }).optional(),
  }),
  /** PID 1: kmain() in the kernel, or our init, and why it takes that. */
  init: z.union([z.object({ kind: z.literal('kmain') }), z.object({ kind: z.literal('init'), why: z.string() })]),
  initramfs: z.object({
    sha256: z.string(),
    bytes,
    files: bytes,
    unpackedBytes: bytes,
    /** How much of the unpacked bytes our kernel leaves where the archive has them. */
    inPlaceBytes: bytes,
    compression: z.enum(['none', 'xz']),
  }),
  /** The files' own file system, in place of an initramfs, with the sums of its blocks. */
  root: z.object({ bytes }).optional(),
  files: z.array(z.object({ path: z.string(), bytes, sha256: z.string() })),
  run: runDefaults,
});

/** What only the host knows that built an image: in a file beside it, which the image does without. */
export const imageHost = z.object({
  format: z.literal(5),
  /** SHA-256 of the image's initramfs: the file belongs to this image. */
  initramfs: z.string(),
  /** The program's ELF, for symbols. */
  program: z.string(),
  /** The project's directory, which relative files and directories are in. */
  directory: z.string(),
  /** Of a medium, which has no room for it. */
  manifest: imageManifest.optional(),
  /** The medium's own SHA-256: another file of its name is not it. */
  sha256: z.string().optional(),
});

export type RunDefaults = z.output<typeof runDefaults>;
export type ImageManifest = z.output<typeof imageManifest>;
export type ImageHost = z.output<typeof imageHost>;

/** What boots: one file with a kernel, an initramfs and a manifest. */
export interface Image {
  readonly path: string;
  readonly manifest: ImageManifest;
  /** Undefined for an image from elsewhere. */
  readonly host: ImageHost | undefined;
  /** Where its disks and volumes are, if not where the file is or was built. */
  readonly beside?: string | undefined;
}
