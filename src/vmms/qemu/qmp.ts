// SPDX-License-Identifier: MIT
import type { Socket } from 'node:net';
import { z } from 'zod';
import { UklError } from '../../lib/errors.js';
import { LineSplitter } from '../../lib/lines.js';

/** A message of QEMU's: a greeting, an answer, or an event, which the tool has no use for. */
const message = z.union([
  z.object({ QMP: z.unknown() }),
  z.object({ return: z.unknown() }),
  z.object({ error: z.object({ class: z.string(), desc: z.string() }) }),
  z.object({ event: z.string() }),
]);

interface Waiting {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: UklError) => void;
}

/**
 * A client of QEMU's machine protocol, as small as the tool's needs: one
 * command at a time, answers by order (docs/interop/qmp-spec.txt of QEMU).
 */
export class Qmp {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  readonly #ready: Promise<unknown>;

  constructor(socket: Socket) {
    this.#socket = socket;
    const lines = new LineSplitter();
    let greet: () => void = () => {};
    const greeted = new Promise<void>((resolve) => {
      greet = resolve;
    });
    this.#ready = greeted.then(() => this.#send('qmp_capabilities', {}));
    this.#ready.catch(() => {}); // each command tells
    socket.on('error', () => {});
    socket.on('close', () => {
      for (const { command, reject } of this.#waiting.splice(0)) reject(new UklError('UKL_VMM', `QEMU ended before it had answered '${command}'`));
      greet();
    });
    socket.on('data', (chunk: Buffer) => {
      for (const line of lines.push(chunk)) {
        const parsed = message.parse(JSON.parse(line));
        if ('QMP' in parsed) greet();
        else if ('return' in parsed) this.#waiting.shift()?.resolve(parsed.return);
        else if ('error' in parsed) {
          const asked = this.#waiting.shift();
          asked?.reject(new UklError('UKL_VMM', `QEMU refused '${asked.command}': ${parsed.error.desc}`));
        }
      }
    });
  }

  #send(command: string, args: object): Promise<unknown> {
    if (this.#socket.destroyed) return Promise.reject(new UklError('UKL_VMM', `QEMU has ended: it cannot be asked to '${command}'`));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ command, resolve, reject });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    });
  }

  /**
   * The answer's "return" member.
   *
   * @throws UKL_VMM if QEMU refuses, with its reason, or has ended
   */
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

  /** Writes memory to a file, as the first processor sees it now. The protocol's integers are signed, as the kernel's addresses need it. */
  async saveMemory(address: bigint, bytes: number, filename: string): Promise<void> {
    await this.execute('memsave', { val: Number(BigInt.asIntN(64, address)), size: bytes, filename, 'cpu-index': 0 });
  }

  /** RIP of each virtual CPU, in hex, as `info registers` prints it. */
  async instructionPointers(): Promise<string[]> {
    const text = await this.execute('human-monitor-command', { 'command-line': 'info registers -a' });
    return typeof text === 'string' ? [...text.matchAll(/\bRIP=([0-9a-f]+)/g)].map((match) => match[1] ?? '') : [];
  }
}
