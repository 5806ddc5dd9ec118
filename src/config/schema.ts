// SPDX-License-Identifier: MIT
import { z } from 'zod';

/** Host 0 is any free port. */
const portPattern = /^\d{1,5}:\d{1,5}(\/(tcp|udp))?$/;

/** The shape of ukl.config.ts and ukl.config.json. */
export const configSchema = z
  .strictObject({
    $schema: z.string().optional(),
    name: z
      .string()
      .regex(/^[\w.-]+$/, 'letters, digits, dot, dash and underscore only')
      .optional()
      .describe("Name of the image; by default the directory's"),
    program: z.string().optional().describe('An x86-64 ELF file to run; with build, where the commands leave it'),
    sources: z.array(z.string()).min(1).optional().describe('C files, compiled and linked into one static program'),
    build: z.array(z.string()).min(1).optional().describe('Shell commands that make the program, with CC and CXX set to our compilers; instead of sources'),
    debianSource: z
      .string()
      .regex(/^[a-z0-9][a-z0-9+.-]+$/, 'the name of a Debian source package')
      .optional()
      .describe("A Debian source package to build in; without it, the project's own directory"),
    buildPackages: z.array(z.string()).default([]).describe('Debian packages that the build needs'),
    entry: z.string().optional().describe('A TypeScript or JavaScript module, run by Node.js'),
    runtime: z
      .string()
      .regex(/^node@\d+(\.\d+\.\d+)?$/, 'node@24, or an exact version: node@24.21.0')
      .default('node@24')
      .describe('Which Node.js'),
    nodeArgs: z.array(z.string()).default([]).describe('Options of Node.js itself: --max-old-space-size=200'),
    external: z
      .array(z.string())
      .default([])
      .describe('npm packages to carry along as they are, rather than in the bundle; native ones are found by themselves'),
    check: z.boolean().default(true).describe('Type errors end the build'),
    cflags: z.array(z.string()).default([]).describe('Options for the compiler'),
    libs: z.array(z.string()).default([]).describe("What comes last on the linker's command line: -lm, ./libx.a"),
    args: z.array(z.string()).default([]).describe('Arguments of the program'),
    env: z.record(z.string(), z.string()).default({}).describe('Its environment'),
    cwd: z.string().startsWith('/').default('/').describe('Its working directory in the guest'),
    files: z
      .array(z.string())
      .default([])
      .describe('host[:guest]: further files and directories; an ELF brings its libraries along; $BUILD at the beginning is where build ran'),
    memory: z.string().optional().describe('Memory of the guest: 256M, 1G'),
    cpus: z.number().int().min(1).max(64).default(1).describe('Processors of the guest'),
    ports: z.array(z.string().regex(portPattern, 'host:guest, as in 8080:80 or 5353:53/udp')).default([]).describe('Ports of the host that lead to the guest'),
    disks: z.array(z.string().regex(/.:\//, 'file:/path')).default([]).describe('file:/path: an ext4 image, created on first use, kept'),
    volumes: z.array(z.string().regex(/.:\//, 'directory:/path')).default([]).describe('directory:/path: a directory of the host that the guest shares'),
    ring: z
      .union([z.literal(0), z.literal(3)])
      .default(0)
      .describe('The privilege level of the program'),
    ring0: z.array(z.string().startsWith('/')).default([]).describe("Further programs that run in ring 0 when they are exec'ed, by their paths in the guest"),
    shortcuts: z
      .array(z.string().regex(/^\w+$|\.c$/, "a C file, or the name of one that ukl has: 'tcp'"))
      .default([])
      .describe('Kernel halves of shortcuts: C files, or tcp'),
    libc: z
      .enum(['ukl', 'host'])
      .optional()
      .describe("The C library: ours, whose system calls are calls in ring 0, or the host's. By default ours for sources and for what ukl-gcc linked"),
    kernelArgs: z.array(z.string()).default([]).describe("Further words of the kernel's command line"),
    kernelConfig: z.string().optional().describe('A file of kernel options (CONFIG_XFS_FS=y), on top of ours: drivers, file systems, tracing'),
    timeout: z.number().positive().optional().describe('Seconds after which the guest is ended'),
  })
  .refine((config) => config.build === undefined || config.program !== undefined, { error: "'build' needs 'program': the file that the commands make" })
  .refine((config) => config.debianSource === undefined || config.build !== undefined, { error: "'debianSource' needs 'build'" })
  .refine((config) => [config.program, config.sources, config.entry].filter((what) => what !== undefined).length === 1, {
    error: "give one of 'program', 'sources' and 'entry'",
  });

/** What a project writes in its ukl.config. */
export type UklConfig = z.input<typeof configSchema>;
/** The same with the defaults filled in. */
export type ResolvedConfig = z.output<typeof configSchema>;

/** Gives a ukl.config.ts its types. */
export function defineConfig(config: UklConfig): UklConfig {
  return config;
}
