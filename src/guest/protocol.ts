// SPDX-License-Identifier: MIT
import { UklError } from '../lib/errors.js';
import { encodeTerminal, type Terminal } from './spec.js';

/**
 * What the tool and the guest's init say to each other on the control channel.
 * Init's half, and what each message means, is in guest/init/protocol.c.
 *
 * The guest is not trusted: whatever it says is a message, if only an unknown one.
 */
export type GuestMessage =
  /** The program is about to be exec'ed, or goes on. */
  | { readonly type: 'start' }
  | { readonly type: 'exit'; readonly status: number }
  | { readonly type: 'signal'; readonly signal: number }
  /** What init could not do, as `setupFailure()` reads it. */
  | { readonly type: 'fail'; readonly text: string }
  /** A record of the kernel's log. */
  | { readonly type: 'kmsg'; readonly text: string }
  /** Init waits for the time. */
  | { readonly type: 'clock' }
  /** The clock has the time that a machine was told which stood still. */
  | { readonly type: 'timed' }
  /** A line of the file that was asked for, and that it has no more. */
  | { readonly type: 'line'; readonly text: string }
  | { readonly type: 'end' }
  /** The program wants to be saved now, and waits. */
  | { readonly type: 'ready' }
  /** No program runs: the machine can be saved. */
  | { readonly type: 'held' }
  | { readonly type: 'unknown'; readonly line: string };

/** More characters than any line of init's has: its longest buffer has 4096 bytes. */
export const MAX_LINE = 64 * 1024;

/** What a message's number may be; none in a line that is not of that form. */
function numberIn(text: string, low: number, high: number): number | undefined {
  const number = /^\d{1,3}$/.test(text) ? Number(text) : Number.NaN;
  return number >= low && number <= high ? number : undefined;
}

/** Messages of one word. */
const WORDS = ['start', 'clock', 'timed', 'end', 'ready', 'held'] as const;

/** One line of the guest's, without its end. */
export function decodeGuestLine(line: string): GuestMessage {
  const unknown = { type: 'unknown', line } as const;
  if (line.length > MAX_LINE) return unknown;
  const blank = line.indexOf(' ');
  const word = blank < 0 ? line : line.slice(0, blank);
  const text = blank < 0 ? undefined : line.slice(blank + 1);
  if (text === undefined) {
    const type = WORDS.find((one) => one === word);
    return type === undefined ? unknown : { type };
  }
  switch (word) {
    case 'exit': {
      const status = numberIn(text, 0, 255);
      return status === undefined ? unknown : { type: 'exit', status };
    }
    case 'start':
      // kmain() adds the number of the process.
      return numberIn(text, 1, 999) === undefined ? unknown : { type: 'start' };
    case 'signal': {
      // SIGRTMAX is 64 (arch/x86/include/uapi/asm/signal.h).
      const signal = numberIn(text, 1, 64);
      return signal === undefined ? unknown : { type: 'signal', signal };
    }
    case 'fail':
    case 'kmsg':
    case 'line':
      return { type: word, text };
    default:
      return unknown;
  }
}

/** The byte that init waits for on each channel that it reads from. */
export const GREETING = '\n';

/** What the control channel begins with: the greeting, and the spec with its length. */
export function encodeGreeting(spec: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${GREETING}${spec.length}\n`), spec]);
}

/** A signal for the program. */
export const encodeSignal = (signal: number): string => `signal ${signal}\n`;

/** Asks for the kernel's log. */
export const encodeKmsg = (): string => 'kmsg\n';

/** Init's MAX_LINE, less the word and the line's end. */
const MAX_NAME = 240;

/** Asks for the program's file of that name in /proc. */
export function encodeProc(name: string): string {
  if (!/^[^\n\0]+$/.test(name) || Buffer.byteLength(name) > MAX_NAME) {
    throw new UklError('UKL_USAGE', `no file of /proc has the name ${JSON.stringify(name.slice(0, MAX_NAME))}`, { hint: "'maps', 'net/tcp'" });
  }
  return `proc ${name}\n`;
}

/** Begins a session on a port of the guest's; src/guest/frames.ts says what goes over it. */
export const encodeExec = (session: number): string => `exec ${session}\n`;

/** The size of the program's terminal, from now on. */
export const encodeWindow = (terminal: Terminal): string => `window ${encodeTerminal(terminal)}\n`;

/** The time, which `Date.now()` has in milliseconds. */
export const encodeTime = (milliseconds: number): string => `time ${milliseconds}000000\n`;

/** Has no program run, so that the machine can be saved. */
export const encodeSave = (): string => 'save\n';

/** The program that is ready goes on. */
export const encodeGo = (): string => 'go\n';

/** What a guest that was saved is from now on, in words of src/guest/spec.ts. */
export function encodeResume(words: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`resume ${words.length}\n`), words]);
}
