// SPDX-License-Identifier: MIT
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { UklError } from '../../lib/errors.js';
import { listen } from '../../lib/listen.js';
import { SESSION_PORTS } from './args.js';
import type { Qmp } from './qmp.js';

/** The ports of the guest's virtio-serial device that come and go. */
export class SessionPorts {
  readonly #directory: string;
  readonly #taken = new Set<number>();
  #next: number = SESSION_PORTS.first;

  /** @param directory the machine's own, with room for sockets */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Of those that are there, or that the guest has not let go of yet. */
  get count(): number {
    return this.#taken.size;
  }

  /** Throws UKL_VMM if all are taken, or QEMU refuses. */
  async open(qmp: Qmp): Promise<{ readonly port: number; readonly socket: Socket }> {
    // Each in its turn: the guest may still be busy with the end of the last one.
    const count = SESSION_PORTS.last - SESSION_PORTS.first + 1;
    const numbers = Array.from({ length: count }, (_, index) => SESSION_PORTS.first + ((this.#next - SESSION_PORTS.first + index) % count));
    const port = numbers.find((number) => !this.#taken.has(number));
    if (port === undefined) throw new UklError('UKL_VMM', `the guest has ${count} sessions, and cannot have more`, { hint: 'end one' });
    this.#taken.add(port);
    this.#next = port + 1;
    const id = `session${port}`;
    try {
      const server = await listen(join(this.#directory, id));
      const connected = new Promise<Socket>((resolve) => server.once('connection', resolve));
      try {
        await qmp.addPort(id, port, join(this.#directory, id));
      } finally {
        server.close();
      }
      const socket = await connected;
      socket.once('close', () => {
        // A guest that is gone has no ports.
        void qmp
          .removePort(id)
          .catch(() => {})
          .finally(() => this.#taken.delete(port));
      });
      return { port, socket };
    } catch (error) {
      this.#taken.delete(port);
      throw error;
    }
  }
}
