// SPDX-License-Identifier: MIT
/** Functions that run elsewhere, each behind a URL: an instance is a share of what that answers at once. */
import { z } from 'zod';
import { UklError } from '../lib/errors.js';
import { type FunctionOptions, functionSchema } from '../options/function.js';
import type { Backend, Server } from './backend.js';
import type { Served } from './service.js';

const remoteSchema = functionSchema.extend({
  url: z.url({ protocol: /^http$/, hostname: /./ }).describe('Where it answers'),
  as: z.string().optional().describe("The host that a proxy there tells services by, in place of the client's"),
});

/** Functions by their names. */
const remotesSchema = z.record(z.string(), remoteSchema);

export type Remotes = z.input<typeof remotesSchema>;

/** Options in the words that a file of remotes has. */
export function encodeOptions({ timeout, wait, idle, ...options }: FunctionOptions): z.input<typeof functionSchema> {
  return { ...options, timeout: `${timeout}ms`, wait: `${wait}ms`, idle: `${idle}ms` };
}

/** What a gateway serves. Throws UKL_CONFIG. */
export function readRemotes(text: string, where: string): readonly Served[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new UklError('UKL_CONFIG', `${where} is no JSON`, { hint: '{"hello": {"url": "http://hello:8080"}}', cause: error });
  }
  const result = remotesSchema.safeParse(parsed);
  if (!result.success)
    throw new UklError('UKL_CONFIG', `${where} does not say where functions are`, {
      details: z.prettifyError(result.error),
      hint: '{"hello": {"url": "http://hello:8080"}}, and the options of docs/functions.md',
    });
  return Object.entries(result.data).map(([name, { url, as, ...options }]) => ({ name, options, backend: remoteBackend(url, as) }));
}

export function remoteBackend(url: string, as?: string): Backend {
  const { hostname, port } = new URL(url);
  const address = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80) };
  return {
    open: async () => {},
    start: async (): Promise<Server> => {
      let end: (how: string) => void = () => {};
      const over = new Promise<string>((resolve) => {
        end = resolve;
      });
      // Whoever is there may close a connection that nothing goes over.
      return { address, host: as, how: 'connected', keepsConnections: false, wake: async () => {}, over, kill: () => end('given up') };
    },
  };
}
