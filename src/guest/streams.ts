// SPDX-License-Identifier: MIT
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { UklError } from '../lib/errors.js';
import { FrameSplitter } from './frames.js';

/** As a shell has it: 128 and the signal's number for a program that a signal ended. */
function statusIn(text: string): number | undefined {
  const [, word, number] = /^(exit|signal) (\d{1,3})$/.exec(text) ?? [];
  return word === undefined ? undefined : (word === 'signal' ? 128 : 0) + Number(number);
}

/**
 * Passes on what a program prints, as fast as it is taken, until the program's end.
 *
 * @returns its exit status
 * @throws what `lost` makes if the connection ends first, UKL_VMM for what are no frames: a hostile guest can send anything
 */
export function receiveStreams(socket: Socket, stdout: Writable, stderr: Writable, lost: () => UklError): Promise<number> {
  const frames = new FrameSplitter();
  return new Promise((resolve, reject) => {
    socket.on('error', () => {});
    socket.on('close', () => reject(lost()));
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const { type, bytes } of frames.push(chunk)) {
          const stream = type === 'o' ? stdout : type === 'e' ? stderr : undefined;
          if (stream !== undefined && !stream.write(bytes)) {
            socket.pause();
            stream.once('drain', () => socket.resume());
          }
          const status = type === 'x' ? statusIn(bytes.toString()) : undefined;
          if (status !== undefined) resolve(status);
        }
      } catch (error) {
        reject(error);
        socket.destroy();
      }
    });
  });
}
