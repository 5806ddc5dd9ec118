// SPDX-License-Identifier: MIT
/** What a client sent, as it is passed on: nothing that two readers could take for two different things. */
import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';

/** Why a request goes no further. */
export class Rejection extends Error {
  constructor(
    readonly status: 400 | 404 | 413 | 503,
    message: string,
  ) {
    super(message);
  }
}

/** Headers that are between two neighbours only (RFC 9110, 7.6.1), and what we answer ourselves (10.1.1). */
const HOP_BY_HOP = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'proxy-authenticate',
  'proxy-authorization',
]);

/** Headers of a request or an answer without those that are for us. */
export function passedOn(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name) && !named.has(name)));
}

/** What functions are told by the gateway alone is not a client's to say. */
export const passedOnBy = ({ headers }: IncomingMessage): OutgoingHttpHeaders =>
  Object.fromEntries(Object.entries(passedOn(headers)).filter(([name]) => !name.startsWith('x-ukl-')));

/** Where a request goes. */
export interface Destination {
  /** As the client names it, with its port. */
  readonly host: string | undefined;
  /** With the query. */
  readonly url: string;
  /** Without it. */
  readonly path: string;
}

/** uri-host and port (RFC 3986, 3.2.2): a name, an IPv4 address, or an IPv6 address in brackets. */
const HOST = /^([\w.~%-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?$/;

/** A segment that another reader goes up or stays for (RFC 3986, 3.3), written in any way; browsers and curl take them out before they ask. */
const DOTS = /(^|[/\\])(\.|%2e){1,2}($|[/\\])/i;

/** Throws Rejection for what a server behind us might understand in another way. */
export function destinationOf(target: string, host: string | undefined): Destination {
  // The absolute form has the host that counts (RFC 9112, 3.2.2).
  const [, authority, rest] = /^http:\/\/([^/?#]*)(.*)$/is.exec(target) ?? [];
  const url = rest === undefined ? target : rest.startsWith('/') ? rest : `/${rest}`;
  const named = authority ?? host;
  if (!url.startsWith('/')) throw new Rejection(400, 'a request is for a path');
  if (named !== undefined && !HOST.test(named)) throw new Rejection(400, 'that is no host');
  const path = url.replace(/[?#].*$/s, '');
  if (DOTS.test(path)) throw new Rejection(400, 'a path has no segments of dots');
  if (/^\/+\.ukl(\/|$)/.test(path)) throw new Rejection(404, 'no function has this path');
  return { host: named, url, path };
}

/** A request ID that somebody in front of us may give. */
const ID = /^[\w.:-]{1,128}$/;

export function idOf({ 'x-request-id': given }: IncomingHttpHeaders): string {
  return typeof given === 'string' && ID.test(given) ? given : randomUUID();
}

/** Bytes of bodies that are here at once. */
const ALL_BODIES = 256 * 2 ** 20;

/** Bodies are read before anybody waits for them: a client that is slow has no instance. */
export class Bodies {
  #held = 0;

  /**
   * The body of a request, which is undefined if it has none; `release` says that it is not needed any more.
   *
   * @param limit bytes that it may have
   * @throws Rejection for more than that, or more than fits beside others; what keeps it from coming whole
   */
  async read(incoming: IncomingMessage, outgoing: ServerResponse, limit: number): Promise<{ readonly body: Buffer | undefined; release(): void }> {
    const { 'content-length': length, 'transfer-encoding': coding, expect } = incoming.headers;
    if (length === undefined && coding === undefined) return { body: undefined, release: () => {} };
    const check = (bytes: number): void => {
      if (bytes > limit) throw new Rejection(413, `a body has ${limit} bytes at most`);
      if (this.#held > ALL_BODIES) throw new Rejection(503, 'too many bodies at once');
    };
    const chunks: Buffer[] = [];
    let bytes = 0;
    const release = (): void => {
      this.#held -= bytes;
      bytes = 0;
    };
    try {
      check(Number(length ?? 0));
      if (expect !== undefined) outgoing.writeContinue();
      for await (const chunk of incoming as AsyncIterable<Buffer>) {
        chunks.push(chunk);
        bytes += chunk.length;
        this.#held += chunk.length;
        check(bytes);
      }
    } catch (error) {
      release();
      throw error;
    }
    return { body: Buffer.concat(chunks), release };
  }
}
