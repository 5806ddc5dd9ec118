// SPDX-License-Identifier: MIT
/** Guests of this host as instances: each goes on from the function's snapshot. */
import { get } from 'node:http';
import type { Readable } from 'node:stream';
import { LineSplitter } from '../lib/lines.js';
import { type Log, silentLog } from '../lib/log.js';
import { type OpenSnapshot, openSnapshot } from '../run/snapshot.js';
import { WARM_PATH } from '../runtimes/functions.js';
import type { Backend, Server } from './backend.js';
import { buildFunction } from './build.js';
import type { FunctionSource } from './discover.js';

export interface LocalContext {
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
  /** Takes what guests print, line by line. */
  readonly say: (line: string) => void;
}

function readLines(stream: Readable, onLine: (line: string) => void): void {
  const lines = new LineSplitter(16 * 1024);
  stream.on('data', (chunk: Buffer) => {
    for (const line of lines.push(chunk)) onLine(line);
  });
}

/** Whatever the answer is, once all of it is there. */
const ask = (port: number, path: string, timeout: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const asked = get({ host: '127.0.0.1', port, path, agent: false, signal: AbortSignal.timeout(timeout) }, (answer) => {
      answer.once('error', reject).resume().once('end', resolve);
    });
    asked.once('error', reject);
  });

/** What an instance of a snapshot is to be. */
export interface InstanceOptions {
  readonly port: number;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly keepsConnections: boolean;
  readonly probe?: string | undefined;
  /** How long an answer to `probe` may take. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly onLine: (line: string) => void;
}

/** An instance that goes on from a snapshot; one that is started ahead waits until it is woken. Throws what keeps it from going on. */
export async function startInstance(snapshot: OpenSnapshot, options: InstanceOptions, ahead: boolean): Promise<Server> {
  const { port, env, probe, keepsConnections, timeoutMs, signal, onLine } = options;
  const { vm, go } = await snapshot.standby({ ports: [`0:${port}`], imagePorts: false, env, log: silentLog, signal });
  try {
    for (const stream of [vm.stdout, vm.stderr]) readLines(stream, onLine);
    go();
    await vm.started;
    if (snapshot.differs !== undefined) await vm.listening(port);
    if (vm.state === 'ended') throw new Error(JSON.stringify((await vm.result).end));
    if (ahead) {
      // The code that every request needs has run then: in emulation it is translated, and its pages are there.
      if (probe !== undefined) await ask(vm.port(port), probe, timeoutMs);
      await vm.pause();
    }
  } catch (error) {
    await vm[Symbol.asyncDispose]();
    throw error;
  }
  return {
    address: { host: '127.0.0.1', port: vm.port(port) },
    how: snapshot.differs === undefined ? 'restored' : 'booted',
    keepsConnections,
    probe,
    wake: () => vm.resume(),
    over: vm.result.then(({ end }) => JSON.stringify(end), String),
    kill: () => vm.kill(),
  };
}

/** Guests of a function, with these variables. */
export function localBackend(source: FunctionSource, env: Readonly<Record<string, string>>, { log, signal, say }: LocalContext): Backend {
  const { name, port, options, saysReady } = source;
  const probe = options.probe ?? (saysReady ? WARM_PATH : undefined);
  const instance = { port, env, probe, keepsConnections: saysReady, timeoutMs: options.timeout, onLine: (line: string) => say(`[${name}] ${line}`) };
  let opening: Promise<OpenSnapshot> | undefined;
  const open = async (): Promise<OpenSnapshot> => openSnapshot((await buildFunction(source, { log, signal })).name, { log });
  const opened = (): Promise<OpenSnapshot> => {
    opening ??= open().catch((error: unknown) => {
      // The next one tries again.
      opening = undefined;
      throw error;
    });
    return opening;
  };
  return {
    open: async () => void (await opened()),
    start: async (ahead, ends) => startInstance(await opened(), { ...instance, signal: ends }, ahead),
  };
}
