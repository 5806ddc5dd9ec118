// SPDX-License-Identifier: MIT
/** The other end of a guest's wire: Ethernet, ARP, IPv4 and TCP, one segment at a time, right or wrong. */
import { EventEmitter, once, setMaxListeners } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

const PEER_MAC = Buffer.from('525400aabbcc', 'hex');
/** The peer's address, and the guest's. */
export const PEER = '10.9.0.1';
export const GUEST = '10.9.0.2';

const FLAGS = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32 } as const;
type Flags = Partial<Record<keyof typeof FLAGS, true>>;

const flagsOf = (text: string): number => [...text].reduce((sum, letter) => sum | FLAGS[letter as keyof Flags], 0);
const textOf = (bits: number): string =>
  Object.entries(FLAGS)
    .flatMap(([letter, bit]) => (bits & bit ? [letter] : []))
    .join('');

const address = (text: string): Buffer => Buffer.from(text.split('.').map(Number));

/** RFC 1071. */
function checksum(...parts: readonly Buffer[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += at + 1 < bytes.length ? bytes.readUInt16BE(at) : (bytes[at] ?? 0) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export interface Segment {
  readonly from: number;
  readonly to: number;
  readonly seq: number;
  readonly ack: number;
  /** Letters of FSRPAU, in this order. */
  readonly flags: string;
  readonly window: number;
  readonly data: string;
}

/** How a segment goes on the wire. */
export interface Odd {
  readonly urgent?: number;
  /** Options of IPv4, padded to words. */
  readonly ipOptions?: Buffer;
  readonly badChecksum?: boolean;
  /** Two packets, the last first. */
  readonly fragments?: boolean;
}

function encodeTcp({ from, to, seq, ack, flags, window, data }: Segment, { urgent = 0, badChecksum }: Odd): Buffer {
  const body = Buffer.from(data, 'latin1');
  const tcp = Buffer.alloc(20 + body.length);
  tcp.writeUInt16BE(from, 0);
  tcp.writeUInt16BE(to, 2);
  tcp.writeUInt32BE(seq >>> 0, 4);
  tcp.writeUInt32BE(ack >>> 0, 8);
  tcp[12] = 5 << 4;
  tcp[13] = flagsOf(flags);
  tcp.writeUInt16BE(window, 14);
  tcp.writeUInt16BE(urgent, 18);
  body.copy(tcp, 20);
  const pseudo = Buffer.concat([address(PEER), address(GUEST), Buffer.from([0, 6, tcp.length >> 8, tcp.length & 255])]);
  tcp.writeUInt16BE(checksum(pseudo, tcp) ^ (badChecksum ? 0x5555 : 0), 16);
  return tcp;
}

function encodeIp(payload: Buffer, options: Buffer = Buffer.alloc(0), id = 1, fragment = 0): Buffer {
  const head = Buffer.alloc(20 + options.length);
  head[0] = 0x40 | (head.length / 4);
  head.writeUInt16BE(head.length + payload.length, 2);
  head.writeUInt16BE(id, 4);
  head.writeUInt16BE(fragment, 6);
  head[8] = 64;
  head[9] = 6;
  address(PEER).copy(head, 12);
  address(GUEST).copy(head, 16);
  options.copy(head, 20);
  head.writeUInt16BE(checksum(head), 10);
  return Buffer.concat([head, payload]);
}

/** A socket for `--net socket:PATH`, and what is behind it. */
export class Wire implements AsyncDisposable {
  readonly #server: Server;
  #socket: Socket | undefined;
  #guestMac: Buffer | undefined;
  #bytes: Buffer = Buffer.alloc(0);
  #arrived: Segment[] = [];
  readonly #frames = new EventEmitter();
  #id = 0;

  private constructor(server: Server) {
    this.#server = server;
    setMaxListeners(0, this.#frames);
    server.on('connection', (socket) => {
      this.#socket = socket;
      socket.on('data', (chunk) => this.#take(chunk));
      socket.on('error', () => {});
    });
  }

  static async listen(path: string): Promise<Wire> {
    const server = createServer();
    server.listen(path);
    await once(server, 'listening');
    return new Wire(server);
  }

  #take(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    while (this.#bytes.length >= 4 && this.#bytes.length >= 4 + this.#bytes.readUInt32BE(0)) {
      const length = this.#bytes.readUInt32BE(0);
      this.#frame(this.#bytes.subarray(4, 4 + length));
      this.#bytes = this.#bytes.subarray(4 + length);
    }
  }

  #frame(frame: Buffer): void {
    const type = frame.readUInt16BE(12);
    this.#guestMac ??= Buffer.from(frame.subarray(6, 12));
    if (type === 0x0806 && frame.readUInt16BE(20) === 1 && frame.subarray(38, 42).equals(address(PEER))) this.#answerArp(frame);
    if (type !== 0x0800 || frame[23] !== 6) return void this.#frames.emit('frame');
    const ip = frame.subarray(14, 14 + frame.readUInt16BE(16));
    const tcp = ip.subarray(((ip[0] ?? 0) & 15) * 4);
    const pseudo = Buffer.concat([ip.subarray(12, 20), Buffer.from([0, 6, tcp.length >> 8, tcp.length & 255])]);
    if (checksum(ip.subarray(0, ((ip[0] ?? 0) & 15) * 4)) !== 0 || checksum(pseudo, tcp) !== 0) throw new Error('the guest sent a wrong checksum');
    this.#arrived.push({
      from: tcp.readUInt16BE(0),
      to: tcp.readUInt16BE(2),
      seq: tcp.readUInt32BE(4),
      ack: tcp.readUInt32BE(8),
      flags: textOf(tcp[13] ?? 0),
      window: tcp.readUInt16BE(14),
      data: tcp.toString('latin1', ((tcp[12] ?? 0) >> 4) * 4),
    });
    this.#frames.emit('frame');
  }

  /** Asks for the guest's hardware address (RFC 826), which comes with whatever it sends. */
  async meet(): Promise<void> {
    const question = Buffer.alloc(42);
    question.fill(0xff, 0, 6);
    PEER_MAC.copy(question, 6);
    question.write('08060001080006040001', 12, 'hex');
    PEER_MAC.copy(question, 22);
    address(PEER).copy(question, 28);
    address(GUEST).copy(question, 38);
    this.#write(question);
    while (this.#guestMac === undefined) await once(this.#frames, 'frame');
  }

  #answerArp(request: Buffer): void {
    const answer = Buffer.alloc(42);
    request.copy(answer, 0, 6, 12);
    PEER_MAC.copy(answer, 6);
    request.copy(answer, 12, 12, 20);
    answer.writeUInt16BE(2, 20);
    PEER_MAC.copy(answer, 22);
    address(PEER).copy(answer, 28);
    request.copy(answer, 32, 22, 32);
    this.#write(answer);
  }

  #write(frame: Buffer): void {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(frame.length);
    this.#socket?.write(Buffer.concat([length, frame]));
  }

  send(segment: Segment, odd: Odd = {}): void {
    const tcp = encodeTcp(segment, odd);
    const id = ++this.#id;
    const cut = 24;
    const packets = odd.fragments
      ? [encodeIp(tcp.subarray(cut), odd.ipOptions, id, cut / 8), encodeIp(tcp.subarray(0, cut), odd.ipOptions, id, 0x2000)]
      : [encodeIp(tcp, odd.ipOptions, id)];
    for (const packet of packets) this.#write(Buffer.concat([this.#guestMac ?? Buffer.alloc(6, 0xff), PEER_MAC, Buffer.from([8, 0]), packet]));
  }

  /** The next segment to a port of the peer that is wanted; the others that came before are gone. */
  async next(port: number, wanted: (segment: Segment) => boolean = () => true): Promise<Segment> {
    for (;;) {
      const index = this.#arrived.findIndex((segment) => segment.to === port && wanted(segment));
      const found = this.#arrived[index];
      if (found !== undefined) {
        this.#arrived = this.#arrived.filter((segment, at) => at > index || segment.to !== port);
        return found;
      }
      await once(this.#frames, 'frame');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.destroy();
    this.#server.close();
  }
}

/** One connection to a port of the guest. Numbers are the peer's own, next to be sent and to be expected. */
export class Connection {
  static #ports = 40_000;
  readonly port = Connection.#ports++;
  seq = 1000;
  ack = 0;

  private constructor(
    readonly wire: Wire,
    readonly guestPort: number,
  ) {}

  static async open(wire: Wire, guestPort: number): Promise<Connection> {
    const connection = new Connection(wire, guestPort);
    connection.send('S', '', { ack: 0 });
    connection.seq++;
    const answer = await connection.next(({ flags }) => flags === 'SA');
    connection.ack = answer.seq + 1;
    connection.send('A');
    return connection;
  }

  /** Sends a segment, at the next number unless another is given; the next number is the caller's to move. */
  send(flags: string, data = '', { seq = this.seq, ack = this.ack, window = 65535, ...odd }: Odd & { seq?: number; ack?: number; window?: number } = {}): void {
    this.wire.send({ from: this.port, to: this.guestPort, seq, ack, flags, window, data }, odd);
  }

  /** Sends data that is to be counted. */
  say(data: string, options: Parameters<Connection['send']>[2] = {}): void {
    this.send('PA', data, options);
    this.seq += data.length;
  }

  next(wanted?: (segment: Segment) => boolean): Promise<Segment> {
    return this.wire.next(this.port, wanted);
  }

  /** The next data, which is then acknowledged. */
  async hear(): Promise<string> {
    const { data } = await this.next(({ seq, data: bytes }) => bytes.length > 0 && seq === this.ack);
    this.ack += data.length;
    this.send('A');
    return data;
  }
}
