// SPDX-License-Identifier: MIT
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { UklError } from '../../lib/errors.js';
import { listen } from '../../lib/listen.js';
import { SESSION_PORTS } from './args.js';
import type { Qmp } from './qmp.js';

/**
 * The ports of the guest's virtio-serial device that come and go.
 *
 * QEMU tells the guest of them in a queue of 32 messages, and drops what has no
 * room (send_control_msg() of hw/char/virtio-serial-bus.c). A port takes four
 * to come and two to go. So one comes after the other, each goes only once the
 * guest has opened it, and there are no more than thirteen.
 */
export class SessionPorts {
  readonly #directory: string;
  readonly #taken = new Set<number>();
  /** Settles when the guest knows of the last port. */
  #known: Promise<unknown> = Promise.resolve();
  #sessions = 0;

  /** @param directory the machine's own, with room for sockets */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Of those that are there, or that the guest has not let go of yet. */
  get count(): number {
    return this.#taken.size;
  }

  /** Throws UKL_VMM if all are taken, or QEMU refuses. */
  async open(qmp: Qmp): Promise<{ readonly session: number; readonly socket: Socket }> {
    const session = ++this.#sessions;
    const count = SESSION_PORTS.last - SESSION_PORTS.first + 1;
    const numbers = Array.from({ length: count }, (_, index) => SESSION_PORTS.first + ((session + index) % count));
    const port = numbers.find((number) => !this.#taken.has(number));
    if (port === undefined) throw new UklError('UKL_VMM', `the guest has ${count} sessions, and cannot have more`, { hint: 'end one' });
    this.#taken.add(port);
    const added = this.#known.then(() => this.#add(qmp, session, port));
    this.#known = added.then(({ opened }) => opened).catch(() => {});
    try {
      return { session, socket: (await added).socket };
    } catch (error) {
      this.#taken.delete(port);
      throw error;
    }
  }

  async #add(qmp: Qmp, session: number, port: number): Promise<{ readonly socket: Socket; readonly opened: Promise<void> }> {
    // The guest may still be busy with the end of the last one that had the number: it looks for the name.
    const id = `session${session}`;
    const path = join(this.#directory, id);
    const server = await listen(path);
    const connected = new Promise<Socket>((resolve) => server.once('connection', resolve));
    try {
      const { opened } = await qmp.addPort(id, port, `ukl.${id}`, path);
      const socket = await connected;
      const closed = new Promise((resolve) => socket.once('close', resolve));
      // A guest that is gone has no ports.
      void Promise.all([opened, closed])
        .then(() => qmp.removePort(id))
        .catch(() => {})
        .finally(() => this.#taken.delete(port));
      return { socket, opened };
    } finally {
      server.close();
    }
  }
}
