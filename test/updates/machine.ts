// SPDX-License-Identifier: MIT
/** A PC that starts from a disk, as often as it likes: its console, its resets, and the server of server.c on it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { LineSplitter } from '../../src/lib/lines.js';
import type { Firmware } from '../../src/model/index.js';
import { QEMU } from '../../src/vmms/qemu/args.js';
import { firmwareWords, VARIABLES, variablesOf } from '../../src/vmms/qemu/firmware.js';
import { freePort } from '../boot/harness.js';

/** For each thing that is waited for. */
const SECONDS = 240;
const RETRY_MS = 100;

export class Pc implements AsyncDisposable {
  #text = '';
  #mark = 0;
  #changed: (() => void)[] = [];
  /** QEMU's resets; SeaBIOS makes two of one. */
  resets = 0;

  private constructor(
    readonly qemu: ChildProcess,
    readonly port: number,
    monitor: Socket,
  ) {
    const wakeAll = (): void => {
      for (const wake of this.#changed.splice(0)) wake();
    };
    qemu.once('exit', wakeAll);
    qemu.stdout?.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString().replaceAll('\r', '');
      if (process.env.SHOW !== undefined) process.stderr.write(chunk);
      wakeAll();
    });
    const lines = new LineSplitter();
    monitor.on('data', (chunk: Buffer) => {
      for (const line of lines.push(chunk)) if (line.includes('"event": "RESET"')) this.resets++;
    });
    monitor.on('error', () => {});
    monitor.write('{"execute":"qmp_capabilities"}\n');
  }

  static async start(directory: string, disk: string, firmware: Firmware, memory = '512M', extra: readonly string[] = []): Promise<Pc> {
    const variables = variablesOf(firmware);
    if (variables !== undefined) await copyFile(variables, join(directory, VARIABLES));
    const port = await freePort();
    const socket = join(directory, 'qmp');
    const qemu = spawn(
      QEMU,
      [
        ...['-M', firmware === 'secure-boot' ? 'q35,smm=on' : 'q35', '-accel', 'tcg', '-cpu', 'max', '-m', memory],
        ...firmwareWords(firmware, directory).flat(),
        ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-qmp', `unix:${socket},server=on,wait=off`],
        ...['-drive', `if=virtio,format=raw,file=${disk}`, '-device', 'i6300esb', '-device', 'virtio-rng-pci'],
        ...['-netdev', `user,id=net,hostfwd=tcp:127.0.0.1:${port}-:8080`, '-device', 'virtio-net-pci,netdev=net'],
        ...extra,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    for (;;) {
      const monitor = connect(socket);
      const ok = await once(monitor, 'connect').then(
        () => true,
        () => false,
      );
      if (ok) return new Pc(qemu, port, monitor);
      if (qemu.exitCode !== null) throw new Error(`QEMU ended with ${qemu.exitCode}`);
      await setTimeout(RETRY_MS);
    }
  }

  /** Waits for what the machine says after what was last waited for. */
  async says(pattern: RegExp): Promise<string> {
    const end = performance.now() + SECONDS * 1000;
    for (;;) {
      const match = pattern.exec(this.#text.slice(this.#mark));
      if (match !== null) {
        this.#mark += match.index + match[0].length;
        return match[0];
      }
      const left = end - performance.now();
      if (left <= 0 || this.ended) throw new Error(`${String(pattern)} never came after: ${this.#text.slice(this.#mark).slice(-1500)}`);
      const timer = new AbortController();
      await Promise.race([new Promise<void>((wake) => this.#changed.push(wake)), setTimeout(left, undefined, { signal: timer.signal })]);
      timer.abort();
    }
  }

  /** Waits for the server's first words, which it says in ring 0. */
  async serves(version: string): Promise<void> {
    await this.says(new RegExp(`version ${version} in ring 0: Operation not permitted`));
  }

  private get ended(): boolean {
    return this.qemu.exitCode !== null || this.qemu.signalCode !== null;
  }

  /** What it has said last. */
  get tail(): string {
    return this.#text.slice(-3000);
  }

  /** How often the firmware has started a boot loader or an EFI program. */
  get starts(): number {
    return [...this.#text.matchAll(/SYSLINUX \d|BdsDxe: starting/g)].length;
  }

  /** Sends an update; what the guest's tool says to it, or nothing if the power fails first. */
  async push(update: Buffer): Promise<string> {
    const socket = connect(this.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('update\n');
    socket.end(update);
    // A guest that starts again closes no connections; one that refuses does.
    const said = await new Promise<string>((done) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (/ is written\n/.test(text)) done(text);
      });
      socket.once('close', () => done(text));
    });
    socket.destroy();
    return said.replace(/^.*\n/, '');
  }

  /** The power fails. */
  async cut(): Promise<void> {
    const ended = this.ended ? undefined : once(this.qemu, 'exit');
    this.qemu.kill('SIGKILL');
    await ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.cut();
  }
}
