// SPDX-License-Identifier: MIT
/** A function that runs elsewhere, behind a URL: an instance of it is a share of what that answers at once. */
import type { Backend, Server } from './backend.js';

export interface RemoteOptions {
  readonly url: string;
  /** What a proxy there tells services by, in place of the client's host. */
  readonly as?: string | undefined;
}

export function remoteBackend({ url, as }: RemoteOptions): Backend {
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
