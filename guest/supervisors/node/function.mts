// SPDX-License-Identifier: MIT
/**
 * Serves a function in the guest: HTTP on a port, with Request and Response for
 * the function. Once all is loaded the guest is saved; each clone of it goes on
 * from there (docs/snapshots.md).
 */
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { FunctionDefinition, FunctionHandler } from '../../../src/functions/define.ts';
import { refresh } from './fresh.mts';

/** src/runtimes/functions.ts has it, too. */
const PORT = 8080;

const INSTANCE = '/.ukl/instance';

/** Answered here, so that what every request needs is compiled before the guest is saved. */
const WARM_PATH = '/.ukl/warm';
const WARM_REQUESTS = 100;

const warm: FunctionHandler = async (request) => new Response(`${request.method} ${await request.text()}`, { headers: { 'content-type': 'text/plain' } });

function toRequest(incoming: IncomingMessage, signal: AbortSignal): Request {
  const headers = new Headers();
  for (let at = 0; at < incoming.rawHeaders.length; at += 2) headers.append(incoming.rawHeaders[at] ?? '', incoming.rawHeaders[at + 1] ?? '');
  const hasBody = incoming.method !== 'GET' && incoming.method !== 'HEAD';
  return new Request(new URL(`http://${incoming.headers.host ?? 'localhost'}${incoming.url ?? '/'}`), {
    method: incoming.method ?? 'GET',
    headers,
    signal,
    ...(hasBody ? { body: Readable.toWeb(incoming), duplex: 'half' as const } : {}),
  });
}

async function send(response: Response, outgoing: ServerResponse): Promise<void> {
  outgoing.statusCode = response.status;
  if (response.statusText !== '') outgoing.statusMessage = response.statusText;
  for (const [name, value] of response.headers) if (name !== 'set-cookie') outgoing.setHeader(name, value);
  const cookies = response.headers.getSetCookie();
  if (cookies.length > 0) outgoing.setHeader('set-cookie', cookies);
  if (response.body !== null) {
    for await (const chunk of response.body) if (!outgoing.write(chunk)) await once(outgoing, 'drain');
  }
  outgoing.end();
}

async function answer(handler: FunctionHandler, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const gone = new AbortController();
  // Who asked is gone, or the gateway has waited long enough.
  outgoing.once('close', () => gone.abort());
  try {
    const request = toRequest(incoming, gone.signal);
    const response = await handler(request, { id: String(incoming.headers['x-request-id'] ?? ''), signal: gone.signal });
    if (!(response instanceof Response)) throw new TypeError('a function answers with a Response');
    await send(response, outgoing);
  } catch (error) {
    if (gone.signal.aborted) return;
    console.error(error);
    if (outgoing.headersSent) outgoing.destroy();
    else outgoing.writeHead(500, { 'content-type': 'text/plain' }).end('the function failed\n');
  }
}

const ask = (): Promise<void> =>
  new Promise((resolve, reject) => {
    get({ port: PORT, path: WARM_PATH, agent: false }, (response) => void response.resume().once('end', resolve)).once('error', reject);
  });

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

/** The clone's own variables: "env", and NAME=value. */
function takeVariables(): void {
  const words = readFileSync(INSTANCE, 'utf8').split('\0');
  for (let at = 0; at + 1 < words.length; at += 2) {
    const [name = '', ...rest] = (words[at + 1] ?? '').split('=');
    if (words[at] === 'env') process.env[name] = rest.join('=');
  }
}

/** Has the guest saved here. All of this thread waits, so that nothing of it runs in a clone before it is somebody. */
function beSaved(): void {
  if (!existsSync('/.ukl/ready')) return;
  const go = openSync('/.ukl/go', 'r');
  const byte = Buffer.alloc(1);
  writeFileSync('/.ukl/ready', '\n');
  readSync(go, byte);
  closeSync(go);
  refresh();
  // Without a snapshot there is nothing to become.
  if (existsSync(INSTANCE)) takeVariables();
}

export function serve({ handler }: FunctionDefinition): void {
  const server = createServer((incoming, outgoing) => void answer(incoming.url === WARM_PATH ? warm : handler, incoming, outgoing));
  // Connections are the gateway's, which keeps them.
  server.keepAliveTimeout = 0;
  server.listen(PORT, async () => {
    for (let count = 0; count < WARM_REQUESTS; count++) await ask();
    server.closeAllConnections();
    collectGarbage();
    beSaved();
  });
}
