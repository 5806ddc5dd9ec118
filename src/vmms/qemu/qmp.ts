// SPDX-License-Identifier: MIT
import type { Socket } from 'node:net';
import { LineSplitter } from '../../lib/lines.js';

/**
 * A client of QEMU's machine protocol, as small as the tool's needs: one
 * command at a time, answers by order (docs/interop/qmp-spec.txt of QEMU).
 */
export class Qmp {
  readonly #socket: Socket;
  #waiting: ((reply: { return?: unknown; error?: unknown }) => void)[] = [];
  readonly #ready: Promise<void>;

  constructor(socket: Socket) {
    this.#socket = socket;
    const splitter = new LineSplitter();
    let greet: () => void = () => {};
    this.#ready = new Promise((resolve) => {
      greet = resolve;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      for (const settle of this.#waiting.splice(0)) settle({ error: 'closed' });
      greet();
    });
    socket.on('data', (chunk: Buffer) => {
      for (const line of splitter.push(chunk)) {
        const message = JSON.parse(line) as { QMP?: unknown; return?: unknown; error?: unknown };
        if (message.QMP !== undefined) {
          this.#send('qmp_capabilities', {}).then(greet, greet);
        } else if ('return' in message || 'error' in message) {
          this.#waiting.shift()?.(message);
        }
      }
    });
  }

  #send(command: string, args: object): Promise<unknown> {
    if (this.#socket.destroyed) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#waiting.push((reply) => resolve(reply.return));
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    });
  }

  /** The answer's "return" member; undefined if QEMU refused or is gone. */
  async execute(command: string, args: object = {}): Promise<unknown> {
    await this.#ready;
    return this.#send(command, args);
  }

  /** Stops all virtual CPUs between two instructions; the machine's clock stops with them. */
  async pause(): Promise<void> {
    await this.execute('stop');
  }

  async resume(): Promise<void> {
    await this.execute('cont');
  }

  /** RIP of each virtual CPU, in hex, as `info registers` prints it. */
  async instructionPointers(): Promise<string[]> {
    const text = await this.execute('human-monitor-command', { 'command-line': 'info registers -a' });
    return typeof text === 'string' ? [...text.matchAll(/\bRIP=([0-9a-f]+)/g)].map((match) => match[1] ?? '') : [];
  }
}
