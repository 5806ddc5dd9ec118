// SPDX-License-Identifier: MIT
import { connect, type Socket } from 'node:net';

/** The registers that QEMU numbers 0 to 16 (gdb-xml/i386-64bit.xml of QEMU). */
const REGISTERS = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip'] as const;
export type Register = (typeof REGISTERS)[number];
export type Registers = Readonly<Record<Register, bigint>>;

/** What one packet of QEMU's stub may hold is 4096 characters: half as many bytes, less its own. */
const CHUNK = 2000;

const checksum = (text: string): string => ([...Buffer.from(text)].reduce((sum, byte) => sum + byte, 0) & 255).toString(16).padStart(2, '0');

function toHex(value: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return bytes.toString('hex');
}

/**
 * A client of gdb's remote serial protocol, as small as the tests' needs: one
 * request at a time, to a guest of one processor.
 */
export class Gdb {
  readonly #socket: Socket;
  #rest = '';
  readonly #packets: string[] = [];
  #waiting: { readonly resolve: (packet: string) => void; readonly reject: (error: Error) => void } | undefined;
  #gone = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#hear(chunk.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#gone = true;
      this.#waiting?.reject(new Error('QEMU is gone'));
    });
  }

  /** The machine is stopped from here on, until `go()`. */
  static async connect(path: string): Promise<Gdb> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    const gdb = new Gdb(socket);
    // The stub sets single registers only for who has read which there are.
    await gdb.#ask('qXfer:features:read:target.xml:0,ffb');
    return gdb;
  }

  #hear(text: string): void {
    this.#rest += text;
    for (;;) {
      const match = /^[+-]*\$([^#]*)#../s.exec(this.#rest);
      if (match === null) return;
      this.#rest = this.#rest.slice(match[0].length);
      const packet = match[1] ?? '';
      if (this.#waiting === undefined) this.#packets.push(packet);
      else {
        const { resolve } = this.#waiting;
        this.#waiting = undefined;
        resolve(packet);
      }
    }
  }

  async #receive(): Promise<string> {
    const packet = this.#packets.shift();
    if (packet !== undefined) return packet;
    if (this.#gone) throw new Error('QEMU is gone');
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** Packets are not acknowledged: on a local socket none is lost, and the next one does as well. */
  #send(packet: string): void {
    this.#socket.write(`$${packet}#${checksum(packet)}`, 'latin1');
  }

  async #ask(packet: string): Promise<string> {
    this.#send(packet);
    return this.#receive();
  }

  /** All at once: while the machine is stopped, the stub takes them one after the other. */
  async #expectOk(...packets: readonly string[]): Promise<void> {
    for (const packet of packets) this.#send(packet);
    for (const packet of packets) {
      const answer = await this.#receive();
      if (answer !== 'OK') throw new Error(`${packet}: ${answer}`);
    }
  }

  async setBreakpoints(...addresses: readonly bigint[]): Promise<void> {
    await this.#expectOk(...addresses.map((address) => `Z0,${address.toString(16)},1`));
  }

  async clearBreakpoints(...addresses: readonly bigint[]): Promise<void> {
    await this.#expectOk(...addresses.map((address) => `z0,${address.toString(16)},1`));
  }

  /** Lets the machine run up to the next breakpoint, and says where that is. */
  async go(): Promise<bigint> {
    await this.#ask('c');
    return (await this.registers()).rip;
  }

  /** One instruction, without interrupts. */
  async step(): Promise<void> {
    await this.#ask('s');
  }

  async registers(): Promise<Registers> {
    const bytes = Buffer.from((await this.#ask('g')).slice(0, REGISTERS.length * 16), 'hex');
    return Object.fromEntries(REGISTERS.map((name, index) => [name, bytes.readBigUInt64LE(index * 8)])) as Registers;
  }

  async setRegisters(values: Partial<Registers>): Promise<void> {
    const packets = REGISTERS.flatMap((name, index) => {
      const value = values[name];
      return value === undefined ? [] : [`P${index.toString(16)}=${toHex(value)}`];
    });
    await this.#expectOk(...packets);
  }

  async read(address: bigint, length: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for (let at = 0; at < length; at += CHUNK) {
      const answer = await this.#ask(`m${(address + BigInt(at)).toString(16)},${Math.min(CHUNK, length - at).toString(16)}`);
      if (answer.startsWith('E')) throw new Error(`no memory at ${address.toString(16)}: ${answer}`);
      chunks.push(Buffer.from(answer, 'hex'));
    }
    return Buffer.concat(chunks);
  }

  async write(address: bigint, data: Buffer): Promise<void> {
    await this.#expectOk(`M${address.toString(16)},${data.length.toString(16)}:${data.toString('hex')}`);
  }

  /** A command of QEMU's monitor; what it prints. */
  async monitor(command: string): Promise<string> {
    let text = '';
    let answer = await this.#ask(`qRcmd,${Buffer.from(command).toString('hex')}`);
    while (answer.startsWith('O') && answer !== 'OK') {
      text += Buffer.from(answer.slice(1), 'hex').toString();
      answer = await this.#receive();
    }
    if (answer !== 'OK' && answer !== '') throw new Error(`${command}: ${answer}`);
    return text;
  }

  /** Lets the machine run on without us. */
  async detach(): Promise<void> {
    await this.#ask('D').catch(() => {});
    this.#socket.destroy();
  }
}
