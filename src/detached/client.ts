// SPDX-License-Identifier: MIT
/** Talks to a guest's supervisor. */
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { z } from 'zod';
import { type ErrorCode, errnoOf, UklError } from '../lib/errors.js';
import { dial, reach } from '../lib/listen.js';
import { type GuestStatus, readStatus, socketOf } from './record.js';
import { STREAMS } from './server.js';

/** A supervisor answers at once; one that was stopped (SIGSTOP) does not. */
const ANSWER_MS = 5000;

const failure = z.object({ error: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }) });

function refused(body: string): UklError {
  const { success, data } = failure.safeParse(JSON.parse(body));
  if (!success) return new UklError('UKL_VMM', `the guest's supervisor answered ${body.slice(0, 200)}`);
  const { code, message, hint } = data.error;
  return new UklError(code as ErrorCode, message, hint === undefined ? {} : { hint });
}

/** Nobody listens: the supervisor has ended, if there ever was one. */
export const isGone = (error: unknown): boolean => ['ENOENT', 'ECONNREFUSED', 'ECONNRESET'].includes(errnoOf(error) ?? '');

/**
 * Asks who listens on a socket. `late` is thrown if there is no answer; without it, one is waited for however long it takes.
 *
 * @throws what the other end says, or the system's error if there is none
 */
export async function ask(socket: string, method: 'GET' | 'POST', path: string, late?: UklError): Promise<unknown> {
  const asking = (socketPath: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const asked = request({ socketPath, method, path, agent: false }, (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => {
          body += chunk.toString();
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve(JSON.parse(body));
          else reject(refused(body));
        });
      });
      asked.on('error', reject);
      if (late !== undefined) asked.setTimeout(ANSWER_MS, () => asked.destroy(late));
      asked.end();
    });
  return reach(socket, asking);
}

/** What to throw for a failed question: that the guest does not run, if nobody was there to answer. */
export const refusalOf = (name: string, error: unknown, hint = `ukl restart ${name}`): unknown =>
  isGone(error) ? new UklError('UKL_VMM', `'${name}' does not run`, { hint }) : error;

/**
 * Asks a supervisor. `patient` waits for an answer however long it takes.
 *
 * @throws what the supervisor says, or the system's error if there is none
 */
export async function call(name: string, method: 'GET' | 'POST', path: string, patient = false): Promise<unknown> {
  const late = patient ? undefined : new UklError('UKL_VMM', `the supervisor of '${name}' does not answer`, { hint: `ukl rm -f ${name}` });
  return ask(socketOf(name), method, path, late);
}

/** A connection to a supervisor that frames go over, for `openSession` and its like. */
export const connectTo = async (name: string, path: string): Promise<Socket> => connectAt(socketOf(name), path);

/** The same, to who listens on a socket. */
export async function connectAt(socket: string, path: string): Promise<Socket> {
  const connecting = (socketPath: string): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const asked = request({ socketPath, path, headers: { connection: 'Upgrade', upgrade: STREAMS }, agent: false });
      asked.on('error', reject);
      asked.on('upgrade', (_response, upgraded, head) => {
        if (head.length > 0) upgraded.unshift(head);
        resolve(upgraded);
      });
      asked.on('response', (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => {
          body += chunk.toString();
        });
        response.on('end', () => reject(refused(body)));
      });
      asked.end();
    });
  return reach(socket, connecting);
}

/** Settles when a guest's supervisor has ended, or the signal aborts. */
export const gone = async (name: string, signal?: AbortSignal): Promise<void> => goneFrom(socketOf(name), signal);

/** Settles when who listens on a socket has ended, which a connection shows. */
export async function goneFrom(path: string, signal?: AbortSignal): Promise<void> {
  const socket = await dial(path);
  if (socket === undefined) return;
  // An end by force is a reset, which once() of node:events would throw.
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const leave = (): void => void socket.destroy();
  signal?.addEventListener('abort', leave, { once: true });
  if (signal?.aborted) leave();
  socket.resume();
  await closed;
  signal?.removeEventListener('abort', leave);
}

/** How a guest is now. A supervisor that is gone without a last word leaves no guest: QEMU goes with it. */
export async function currentStatus(name: string): Promise<GuestStatus | undefined> {
  try {
    return (await call(name, 'GET', '/status')) as GuestStatus;
  } catch (error) {
    const last = await readStatus(name);
    if (!isGone(error)) {
      // It lives, and is stopped or busy: what it wrote last is what is known.
      if (last !== undefined) return last;
      throw error;
    }
    if (last === undefined || last.state === 'exited') return last;
    return { ...last, state: 'exited', exitCode: 255, reason: 'its supervisor was killed, or this machine was restarted' };
  }
}
