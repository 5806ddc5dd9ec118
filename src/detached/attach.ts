// SPDX-License-Identifier: MIT
/** The streams of a detached guest's program, as they come. */
import type { Readable, Writable } from 'node:stream';
import { encodeFrame, framesOf } from '../guest/frames.js';
import { receiveStreams } from '../guest/streams.js';
import { UklError } from '../lib/errors.js';
import { connectTo, refusalOf } from './client.js';
import { specOf } from './record.js';

export interface Attached {
  /** The guest's exit status. Rejects with UKL_VMM if its supervisor ends without one. */
  readonly end: Promise<number>;
  leave(): void;
}

export interface AttachedStreams {
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Read only if the guest was started with standard input open. */
  readonly stdin?: Readable | undefined;
}

/** Attaches to a guest that runs. Throws UKL_USAGE for a name without a guest, UKL_VMM for one that has ended. */
export async function attach(name: string, { stdout, stderr, stdin }: AttachedStreams): Promise<Attached> {
  const { interactive } = await specOf(name);
  const socket = await connectTo(name, '/attach').catch((error: unknown) => {
    throw refusalOf(name, error, `ukl logs ${name}`);
  });
  const input = interactive ? stdin : undefined;
  const give = (chunk: Buffer): void => {
    for (const frame of framesOf('i', chunk)) socket.write(frame);
  };
  const close = (): void => void socket.write(encodeFrame('i'));
  input?.on('data', give);
  input?.once('end', close);
  const lost = (): UklError => new UklError('UKL_VMM', `the supervisor of '${name}' ended, or did not wait for a slow reader`, { hint: `ukl logs ${name}` });
  const end = receiveStreams(socket, stdout, stderr, lost);
  end.catch(() => {}); // whoever awaits it is told
  return {
    end,
    leave: () => {
      input?.off('data', give);
      input?.off('end', close);
      socket.destroy();
    },
  };
}
