// SPDX-License-Identifier: MIT
import type { Socket } from 'node:net';
import { z } from 'zod';
import { UklError } from '../../lib/errors.js';
import { LineSplitter } from '../../lib/lines.js';

/** A message of QEMU's: a greeting, an answer, or an event, of which the tool has a use for three. */
const message = z.union([
  z.object({ QMP: z.unknown() }),
  z.object({ return: z.unknown() }),
  z.object({ error: z.object({ class: z.string(), desc: z.string() }) }),
  z.object({ event: z.literal('MIGRATION'), data: z.object({ status: z.string() }) }),
  z.object({ event: z.literal('DEVICE_DELETED'), data: z.object({ device: z.string().optional() }) }),
  z.object({ event: z.literal('VSERPORT_CHANGE'), data: z.object({ id: z.string(), open: z.boolean() }) }),
  z.object({ event: z.string() }),
]);

/** How a migration ends (MigrationStatus in qapi/migration.json of QEMU). */
const MIGRATED = new Set(['completed', 'failed', 'cancelled']);

/** StatsResult of qapi/stats.json, for each virtual CPU. */
const statistics = z.array(z.object({ stats: z.array(z.object({ name: z.string(), value: z.number() })) }));

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
  #migrated: (status: string) => void = () => {};
  /** Devices that are being removed, with who waits for that. */
  readonly #leaving = new Map<string, () => void>();
  /** Ports that the guest is to open, with who waits for that. */
  readonly #opening = new Map<string, () => void>();

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
      this.#migrated('ended');
      for (const opened of this.#opening.values()) opened();
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
        } else if ('data' in parsed && parsed.event === 'VSERPORT_CHANGE') {
          if (parsed.data.open) this.#opening.get(parsed.data.id)?.();
        } else if ('data' in parsed && parsed.event === 'DEVICE_DELETED') this.#leaving.get(parsed.data.device ?? '')?.();
        else if ('data' in parsed && MIGRATED.has(parsed.data.status)) this.#migrated(parsed.data.status);
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

  /** Writes the machine's memory from a physical address on. */
  async savePhysical(address: number, bytes: number, filename: string): Promise<void> {
    await this.execute('pmemsave', { val: address, size: bytes, filename });
  }

  /**
   * Has a machine that waits take its state from a socket, which QEMU listens on and `send` connects to.
   *
   * @throws UKL_VMM if QEMU cannot
   */
  async migrateIncoming(path: string, send: () => void): Promise<void> {
    await this.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
    // The guest that it was tells its neighbours of nothing: it becomes another. Linux waits for itself when it is
    // told to, and to take the card down (virtnet_close() for the work that announces, which wants the same lock).
    await this.execute('migrate-set-parameters', { 'announce-rounds': 0 });
    const ended = new Promise<string>((resolve) => {
      this.#migrated = resolve;
    });
    await this.execute('migrate-incoming', { uri: `unix:${path}` });
    send();
    const status = await ended;
    if (status !== 'completed') throw new UklError('UKL_VMM', `QEMU could not take the machine's state: ${status}`);
  }

  /** The cable of a network card, by its network's name. */
  async setLink(name: string, up: boolean): Promise<void> {
    await this.execute('set_link', { name, up });
  }

  /**
   * Connects a port of the guest's virtio-serial device, which finds it by
   * `name`, to a socket that somebody listens on.
   *
   * @returns what settles when the guest has opened the port, or ended
   */
  async addPort(id: string, port: number, name: string, path: string): Promise<{ readonly opened: Promise<void> }> {
    const backend = { type: 'socket', data: { addr: { type: 'unix', data: { path } }, server: false } };
    const opened = new Promise<void>((resolve) => this.#opening.set(id, resolve));
    try {
      await this.execute('chardev-add', { id, backend });
      try {
        await this.execute('device_add', { driver: 'virtserialport', id, chardev: id, nr: port, name });
      } catch (error) {
        await this.execute('chardev-remove', { id });
        throw error;
      }
    } catch (error) {
      this.#opening.delete(id);
      throw error;
    }
    return { opened: opened.finally(() => this.#opening.delete(id)) };
  }

  /** The guest has a part in it: the device is gone when QEMU says so. */
  async removePort(id: string): Promise<void> {
    const gone = new Promise<void>((resolve) => this.#leaving.set(id, resolve));
    await this.execute('device_del', { id });
    await gone;
    this.#leaving.delete(id);
    await this.execute('chardev-remove', { id });
  }

  /** RIP of each virtual CPU, in hex, as `info registers` prints it. */
  async instructionPointers(): Promise<string[]> {
    const text = await this.execute('human-monitor-command', { 'command-line': 'info registers -a' });
    return typeof text === 'string' ? [...text.matchAll(/\bRIP=([0-9a-f]+)/g)].map((match) => match[1] ?? '') : [];
  }

  /** KVM's exits of all virtual CPUs; undefined in emulation, and of a QEMU older than 7.1. */
  async exits(): Promise<number | undefined> {
    const providers = [{ provider: 'kvm', names: ['exits'] }];
    const answer = statistics.safeParse(await this.execute('query-stats', { target: 'vcpu', providers }).catch(() => []));
    const counts = answer.data?.flatMap(({ stats }) => stats.flatMap(({ name, value }) => (name === 'exits' ? [value] : []))) ?? [];
    return counts.length === 0 ? undefined : counts.reduce((sum, count) => sum + count);
  }
}
