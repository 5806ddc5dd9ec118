// SPDX-License-Identifier: MIT
import { z } from 'zod';

/** How a kernel and an initramfs are one file. `src/containers` has the registry. */
export type ContainerName = 'bzImage' | 'elf';

const port = z.object({ address: z.string(), host: z.number(), guest: z.number(), protocol: z.enum(['tcp', 'udp']) });

/** How an image is started unless told otherwise. */
const runDefaults = z.object({
  /** Seconds after which the guest is stopped. */
  timeoutSeconds: z.number().optional(),
  /** argv[0] and what always follows it. */
  command: z.array(z.string()),
  /** What other arguments may take the place of. */
  args: z.array(z.string()),
  env: z.record(z.string(), z.string()),
  cwd: z.string(),
  memoryMiB: z.number(),
  cpus: z.number(),
  ports: z.array(port),
  /** Files and directories are relative, as the configuration has them: to the project, or to the image where there is none. */
  disks: z.array(z.object({ file: z.string(), path: z.string() })),
  volumes: z.array(z.object({ directory: z.string(), path: z.string() })),
});

/** What the end of an image's file says about it. Nothing in it depends on the host that built it. */
export const imageManifest = z.object({
  format: z.literal(4),
  container: z.enum(['bzImage', 'elf']),
  name: z.string(),
  runtime: z.enum(['native', 'node']),
  /** Of the program. */
  ring: z.union([z.literal(0), z.literal(3)]),
  /** All that runs in ring 0, by path in the guest. */
  ring0: z.array(z.string()),
  program: z.string(),
  /** The words for the kernel that are in the image. */
  cmdline: z.string(),
  kernel: z.object({ line: z.literal('6.12'), flavour: z.enum(['ukl', 'stock']), version: z.string(), sha256: z.string(), bytes: z.number() }),
  initramfs: z.object({ sha256: z.string(), bytes: z.number(), files: z.number(), unpackedBytes: z.number() }),
  files: z.array(z.object({ path: z.string(), bytes: z.number(), sha256: z.string() })),
  run: runDefaults,
});

/** What only the host knows that built an image: in a file beside it, which the image does without. */
export const imageHost = z.object({
  format: z.literal(4),
  /** SHA-256 of the image's initramfs: the file belongs to this image. */
  initramfs: z.string(),
  /** The program's ELF, for symbols. */
  program: z.string(),
  /** The project's directory, which relative files and directories are in. */
  directory: z.string(),
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
}
