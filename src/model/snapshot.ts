// SPDX-License-Identifier: MIT
import { z } from 'zod';

const texts = z.union([z.string(), z.array(z.string())]);

/** snapshot.json, beside a saved guest's memory, state and image. */
export const snapshotRecord = z.object({
  /** What the tool and the guest say to each other when it goes on. */
  format: z.literal(1),
  /** What a machine must be to go on from it: a hash by what it is of. */
  parts: z.record(z.string(), z.string()),
  /** How it was started, which a boot in its place is as well. */
  options: z.object({
    memory: z.string(),
    cpus: z.number(),
    cpu: z.string().optional(),
    args: z.array(z.string()),
    env: z.record(z.string(), z.string()),
    kernelArgs: z.array(z.string()),
    network: texts.optional(),
    net: texts.optional(),
    hostname: z.string().optional(),
    hosts: z.array(z.string()).optional(),
    verbose: z.boolean().optional(),
  }),
  /** What it waited for: a port, or the program's word; without it, it was saved as it ran, and no start leads there again. */
  ready: z.union([z.number(), z.literal('word')]).optional(),
  made: z.string(),
});

export type SnapshotRecord = z.output<typeof snapshotRecord>;
