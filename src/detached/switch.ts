// SPDX-License-Identifier: MIT
/**
 * A switch for the guests of a project: Ethernet frames between VMMs (QEMU's
 * "stream" netdev: each frame behind its length in four bytes, big-endian). It
 * needs no rights and no device of the host.
 *
 * The VMMs listen, each on a Unix socket of its own, and the switch connects to
 * them: a VMM then takes another switch in the place of one that was killed, which
 * it does not where it is the one that connects (QEMU before 8.0). A supervisor says
 * the socket's path, on a connection that is open for as long as its guest is to be plugged in.
 */
import type { Server, Socket } from 'node:net';
import { setTimeout as elapse } from 'node:timers/promises';
import { LineSplitter } from '../lib/lines.js';
import { dial, listen } from '../lib/listen.js';

/** A frame with virtio's largest offload is 64 KiB and its headers. */
const FRAME_MAX = 68 * 1024;
/** destination, source and type */
const FRAME_MIN = 14;
const MAC_BYTES = 6;
/** A port that is this far behind loses frames, as on any switch. */
const BEHIND_BYTES = 4 * 1024 * 1024;
/** A guest that invents addresses does not fill the table: it is begun anew. */
const TABLE_MAX = 4096;

/** Group addresses have the lowest bit of their first byte set (IEEE 802.3, 3.2.3). */
const isGroup = (frame: Buffer): boolean => ((frame[0] ?? 0) & 1) === 1;

const HEAD = 4;

/** Cuts what comes in chunks into frames, each with its head. */
class Cutter {
  #rest: Buffer = Buffer.alloc(0);

  /** Undefined for what is no frame. */
  push(chunk: Buffer): Buffer[] | undefined {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Buffer[] = [];
    let at = 0;
    while (this.#rest.length - at >= HEAD) {
      const length = this.#rest.readUInt32BE(at);
      if (length < FRAME_MIN || length > FRAME_MAX) return undefined;
      if (this.#rest.length - at - HEAD < length) break;
      frames.push(this.#rest.subarray(at, at + HEAD + length));
      at += HEAD + length;
    }
    this.#rest = this.#rest.subarray(at);
    return frames;
  }
}

/** Learns who is where from what they send, and floods what it does not know. */
export class Switch {
  readonly #ports = new Set<Socket>();
  readonly #table = new Map<string, Socket>();

  get ports(): number {
    return this.#ports.size;
  }

  /** Connects a port until it closes. */
  connect(socket: Socket): void {
    const cutter = new Cutter();
    this.#ports.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#ports.delete(socket);
      for (const [address, port] of this.#table) if (port === socket) this.#table.delete(address);
    });
    socket.on('data', (chunk: Buffer) => {
      const frames = cutter.push(chunk);
      if (frames === undefined) socket.destroy();
      else for (const frame of frames) this.#forward(socket, frame);
    });
  }

  #forward(from: Socket, packet: Buffer): void {
    const frame = packet.subarray(HEAD);
    const to = frame.toString('latin1', 0, MAC_BYTES);
    const source = frame.toString('latin1', MAC_BYTES, 2 * MAC_BYTES);
    if (this.#table.size >= TABLE_MAX) this.#table.clear();
    this.#table.set(source, from);
    const known = isGroup(frame) ? undefined : this.#table.get(to);
    for (const port of known === undefined ? this.#ports : [known]) if (port !== from && port.writableLength < BEHIND_BYTES) port.write(packet);
  }
}

/** How long a switch without guests waits for one that is started again. */
const IDLE_MS = 30_000;
/** How often it is tried to connect to a VMM that is about to listen. */
const RETRY_MS = 20;

/** Connects the VMM that listens on a path, for as long as its supervisor is there. */
async function plug(all: Switch, path: string, supervisor: Socket): Promise<void> {
  while (!supervisor.destroyed) {
    const socket = await dial(path);
    if (socket === undefined) {
      await elapse(RETRY_MS);
      continue;
    }
    all.connect(socket);
    supervisor.once('close', () => socket.destroy());
    if (supervisor.destroyed) socket.destroy();
    return;
  }
}

/** Serves a switch until no supervisor has been there for a while; `idle` is called then. */
export async function serveSwitch(path: string, idle: () => void): Promise<Server> {
  const all = new Switch();
  let timer: NodeJS.Timeout | undefined;
  let supervisors = 0;
  const count = (change: number): void => {
    supervisors += change;
    clearTimeout(timer);
    if (supervisors === 0) timer = setTimeout(idle, IDLE_MS);
  };
  const server = await listen(path);
  server.on('connection', (supervisor: Socket) => {
    const lines = new LineSplitter();
    count(1);
    supervisor.on('error', () => {});
    supervisor.once('close', () => count(-1));
    supervisor.on('data', (chunk: Buffer) => {
      for (const line of lines.push(chunk)) void plug(all, line, supervisor);
    });
  });
  count(0);
  return server;
}
