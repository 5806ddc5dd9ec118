// SPDX-License-Identifier: MIT
/** A program beside the image's own, in ring 3, with its streams and its status; guest/init/session.c is the other end. */
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { encodeFrame } from '../guest/frames.js';
import { encodeRequest, type SessionRequest } from '../guest/spec.js';
import { openStreams } from '../guest/streams.js';
import { UklError } from '../lib/errors.js';

export interface SessionEnd {
  /** As a shell has it: 128 and the signal's number for a program that a signal ended. */
  readonly exitCode: number;
}

/** A program in a guest. Disposing of it hangs up on the program. */
export interface Session extends AsyncDisposable {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Settles with the program. Rejects with UKL_VMM if the guest ends first, or loses it. */
  readonly end: Promise<SessionEnd>;
  signal(name: NodeJS.Signals): void;
  /** The terminal's new size. */
  resize(rows: number, columns: number): void;
}

function windowOf(rows: number, columns: number): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(columns, 2);
  return size;
}

/** Begins a session on a connection that leads to a guest's port. */
export function openSession(socket: Socket, request: SessionRequest, signal?: AbortSignal): Session {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const send = (frame: Buffer): void => {
    if (!socket.destroyed) socket.write(frame);
  };
  const lost = (): UklError =>
    new UklError('UKL_VMM', `the session was lost before '${request.argv[0]}' had ended: with the guest, its supervisor, or the session's own process`, {
      hint: 'ukl ps -a',
    });
  const { stdin, status } = openStreams(socket, stdout, stderr, lost);
  const end = status
    .then((exitCode) => ({ exitCode }))
    .finally(() => {
      stdout.end();
      stderr.end();
      socket.destroy();
    });
  end.catch(() => {}); // whoever awaits it is told
  const abort = (): void => void socket.destroy();
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted) abort();
  send(encodeFrame('s', encodeRequest(request)));
  return {
    stdin,
    stdout,
    stderr,
    end,
    signal: (name) => send(encodeFrame('k', Buffer.from([constants.signals[name]]))),
    resize: (rows, columns) => send(encodeFrame('w', windowOf(rows, columns))),
    async [Symbol.asyncDispose]() {
      socket.destroy();
      await end.catch(() => {});
    },
  };
}
