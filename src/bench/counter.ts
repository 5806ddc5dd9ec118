// SPDX-License-Identifier: MIT
/** Our end of the socket that vmm-plugins/count.c speaks on. */
import { once } from 'node:events';
import type { Server, Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { UklError } from '../lib/errors.js';
import { listen } from '../lib/listen.js';

/** Numbers by name, since the start of the machine. */
export type Counts = Readonly<Record<string, number>>;

/** What is counted by address: entries of the kernel, and functions that are called for each event. */
const PLACES: Readonly<Record<string, readonly string[]>> = {
  interrupt: ['asm_common_interrupt'],
  timer: ['asm_sysvec_apic_timer_interrupt'],
  kick: ['vm_notify', 'vp_notify'],
};

/** The plugin's argument "at" for a kernel's symbols, as nm and System.map have them. A function that it lacks is not counted. */
export function placesIn(symbols: string): string {
  const address = (name: string): string | undefined => new RegExp(`^([0-9a-f]{16}) [tT] ${name}$`, 'm').exec(symbols)?.[1];
  return Object.entries(PLACES)
    .flatMap(([name, functions]) => functions.flatMap((one) => address(one) ?? []).map((at) => `${name}:${at}`))
    .join('+');
}

/** The difference of two counts. */
export const since = (before: Counts, after: Counts): Counts =>
  Object.fromEntries(Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)]));

/** The plugin in a VMM. */
export class Counter implements Disposable {
  readonly #server: Server;
  readonly #lines: Promise<{ readonly socket: Socket; readonly lines: Interface }>;

  private constructor(server: Server) {
    this.#server = server;
    this.#lines = (once(server, 'connection') as Promise<[Socket]>).then(([socket]) => {
      socket.on('error', () => {});
      return { socket, lines: createInterface({ input: socket }) };
    });
    this.#lines.catch(() => {});
  }

  static async listen(path: string): Promise<Counter> {
    return new Counter(await listen(path));
  }

  /**
   * What was counted until now; one call at a time.
   *
   * @throws UKL_VMM if the VMM ends meanwhile
   */
  async read(): Promise<Counts> {
    const { socket, lines } = await this.#lines;
    const counts: Record<string, number> = {};
    const answer = new Promise<Counts>((resolve, reject) => {
      const gone = (): void => reject(new UklError('UKL_VMM', 'the VMM ended before it had said what it counted'));
      const take = (line: string): void => {
        const [name = '', count] = line.split(' ');
        // A name that stands for several places comes once for each.
        if (name !== 'end') counts[name] = (counts[name] ?? 0) + Number(count);
        else {
          lines.off('line', take);
          lines.off('close', gone);
          resolve(counts);
        }
      };
      if (socket.destroyed) return gone();
      lines.on('line', take);
      lines.once('close', gone);
    });
    socket.write('read\n');
    return answer;
  }

  [Symbol.dispose](): void {
    this.#server.close();
    this.#lines.then(
      ({ socket }) => socket.destroy(),
      () => {},
    );
  }
}
