// SPDX-License-Identifier: MIT
/** Where the instances of a function come from: guests of this host (local.ts), or services elsewhere (remote.ts). */

/** Something that answers HTTP for one function, until it is over. */
export interface Server {
  readonly address: { readonly host: string; readonly port: number };
  /** The host that requests name, in place of the client's. */
  readonly host?: string | undefined;
  readonly how: 'restored' | 'booted' | 'connected';
  /** It closes no connection by itself. */
  readonly keepsConnections: boolean;
  /** A path that is answered at once unless the server hangs. */
  readonly probe?: string | undefined;
  /** Has one that was started ahead go on. */
  wake(): Promise<void>;
  /** Settles when it is gone; the words say how. */
  readonly over: Promise<string>;
  /** Ends it at once, with all that it is at. */
  kill(): void;
}

export interface Backend {
  /** Makes what all instances start from. Throws what keeps it from being made. */
  open(): Promise<void>;
  /** Starts an instance, which `signal` ends; one that is started ahead waits, at no cost of time, until it is woken. */
  start(ahead: boolean, signal: AbortSignal): Promise<Server>;
}
