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

/** Guests of a function, with these variables. */
export function localBackend(source: FunctionSource, env: Readonly<Record<string, string>>, { log, signal, say }: LocalContext): Backend {
  const { name, port, options, saysReady } = source;
  const probe = options.probe ?? (saysReady ? WARM_PATH : undefined);
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
  const start = async (ahead: boolean, ends: AbortSignal): Promise<Server> => {
    const snapshot = await opened();
    const { vm, go } = await snapshot.standby({ ports: [`0:${port}`], imagePorts: false, env, log: silentLog, signal: ends });
    try {
      for (const stream of [vm.stdout, vm.stderr]) readLines(stream, (line) => say(`[${name}] ${line}`));
      go();
      await vm.started;
      if (snapshot.differs !== undefined) await vm.listening(port);
      if (vm.state === 'ended') throw new Error(JSON.stringify((await vm.result).end));
      if (ahead) {
        // The code that every request needs has run then: in emulation it is translated, and its pages are there.
        if (probe !== undefined) await ask(vm.port(port), probe, options.timeout);
        await vm.pause();
      }
    } catch (error) {
      await vm[Symbol.asyncDispose]();
      throw error;
    }
    return {
      address: { host: '127.0.0.1', port: vm.port(port) },
      how: snapshot.differs === undefined ? 'restored' : 'booted',
      keepsConnections: saysReady,
      probe,
      wake: () => vm.resume(),
      over: vm.result.then(({ end }) => JSON.stringify(end), String),
      kill: () => vm.kill(),
    };
  };
  return { open: async () => void (await opened()), start };
}
