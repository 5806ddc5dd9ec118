// SPDX-License-Identifier: MIT
/** The options of a function: in defineFunction(), or as `function` in ukl.config. */
import { z } from 'zod';

/** "500ms", "5s", "2m", or seconds; in milliseconds. */
const duration = z
  .union([z.number().positive(), z.string().regex(/^\d+(\.\d+)?(ms|s|m)$/, 'expected 500ms, 5s, 2m, or a number of seconds')])
  .transform((value) => {
    if (typeof value === 'number') return value * 1000;
    const [, count, unit] = /^([\d.]+)(ms|s|m)$/.exec(value) ?? [];
    return Number(count) * (unit === 'ms' ? 1 : unit === 's' ? 1000 : 60_000);
  })
  .refine((ms) => ms <= 86_400_000, 'at most a day');

const count = (low: number, high: number): z.ZodInt => z.int().min(low).max(high);
const variable = z.string().regex(/^[A-Za-z_]\w*$/, 'the name of a variable');

export const functionSchema = z.strictObject({
  path: z.string().startsWith('/').optional().describe('Requests whose path is this or begins with it, and a slash; /NAME by default'),
  host: z.string().optional().describe('Requests for this host alone'),
  memory: z.string().optional().describe('Memory of an instance: 256M'),
  concurrency: count(1, 1000).default(1).describe('Requests that an instance has at once'),
  timeout: duration.default(30_000).describe('How long a request may take: 5s; its instance ends with it'),
  queue: count(0, 100_000).default(100).describe('Requests that wait for an instance; what comes beyond is answered by 429'),
  wait: duration.default(10_000).describe('How long a request waits for an instance before it is answered by 503'),
  idle: duration.default(60_000).describe('How long an instance without requests is kept'),
  min: count(0, 100).default(0).describe('Instances that are kept in any case'),
  max: count(1, 1000).optional().describe("Instances at once; the gateway's --max by default"),
  retries: count(0, 10).default(0).describe('How often a request that may be repeated (GET, HEAD, OPTIONS, PUT, DELETE) is tried again when its instance ends'),
  cron: z
    .union([z.string(), z.array(z.string())])
    .default([])
    .describe('When it is called by POST without a request from outside: "*/5 * * * *"'),
  env: z.array(variable).default([]).describe("Variables of the gateway's environment that it gets"),
  secrets: z.array(variable).default([]).describe("Variables of the gateway's secrets that it gets"),
  maxBody: z
    .string()
    .regex(/^\d+[KMG]i?$/, 'expected 512K, 8M, 1G')
    .default('8M')
    .describe('Bytes that the body of a request may have; more is answered by 413'),
  probe: z
    .string()
    .startsWith('/')
    .optional()
    .describe('A path that answers at once, by GET: asked before an instance waits, and after a client left; of a function in TypeScript it need not be said'),
  port: count(1, 65535).optional().describe('Where a program that speaks HTTP listens; its first port by default'),
});

/** What defineFunction() takes. */
export type FunctionConfig = z.input<typeof functionSchema>;
/** The same with the defaults, and durations in milliseconds. */
export type FunctionOptions = z.output<typeof functionSchema>;
