// SPDX-License-Identifier: MIT
/** The streams of a detached guest's program, as they come. */
import type { Readable, Writable } from 'node:stream';
import { openStreams } from '../guest/streams.js';
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
  const lost = (): UklError => new UklError('UKL_VMM', `the supervisor of '${name}' ended, or did not wait for a slow reader`, { hint: `ukl logs ${name}` });
  const { stdin: input, status: end } = openStreams(socket, stdout, stderr, lost);
  end.catch(() => {}); // whoever awaits it is told
  if (interactive) stdin?.pipe(input);
  return {
    end,
    leave: () => {
      stdin?.unpipe(input);
      socket.destroy();
    },
  };
}
