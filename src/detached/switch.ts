// SPDX-License-Identifier: MIT
/**
 * A switch for the guests of a project: Ethernet frames between VMMs that
 * connect to a Unix socket (QEMU's "stream" netdev: each frame behind its length
 * in four bytes, big-endian). It needs no rights and no device of the host.
 */
import type { Server, Socket } from 'node:net';
import { listen } from '../lib/listen.js';

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

  /** Connects a port; `left` is called when it has gone. */
  connect(socket: Socket, left: () => void): void {
    const cutter = new Cutter();
    this.#ports.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#ports.delete(socket);
      for (const [address, port] of this.#table) if (port === socket) this.#table.delete(address);
      left();
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

/** Serves a switch until nobody has been connected for a while; `idle` is called then. */
export async function serveSwitch(path: string, idle: () => void): Promise<Server> {
  const all = new Switch();
  let timer: NodeJS.Timeout | undefined;
  const left = (): void => {
    clearTimeout(timer);
    if (all.ports === 0) timer = setTimeout(idle, IDLE_MS);
  };
  const server = await listen(path);
  server.on('connection', (socket: Socket) => {
    clearTimeout(timer);
    all.connect(socket, left);
  });
  left();
  return server;
}
