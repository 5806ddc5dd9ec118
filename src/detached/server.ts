// SPDX-License-Identifier: MIT
/** A supervisor's ear: HTTP on a Unix socket, and sessions on connections that are upgraded. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { asUklError, errnoOf, UklError } from '../lib/errors.js';
import { listen } from '../lib/listen.js';

/** What a supervisor can be asked for. Each answer is JSON. */
export interface Answers {
  /** By method and path: "POST /stop". */
  readonly calls: Readonly<Record<string, (parameters: URLSearchParams) => Promise<object>>>;
  /** By path, on an upgraded connection. */
  readonly streams: Readonly<Record<string, (socket: Socket, parameters: URLSearchParams) => Promise<void>>>;
}

/** The protocol that a connection is upgraded to. */
export const STREAMS = 'ukl-frames';

function errorBody(error: unknown): string {
  const { code, message, hint } = asUklError(error);
  return JSON.stringify({ error: { code, message, hint } });
}

function answer({ calls }: Answers, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://guest');
  const call = calls[`${request.method} ${url.pathname}`];
  const send = (status: number, body: string): void => void response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  if (call === undefined) send(404, errorBody(new UklError('UKL_USAGE', `this guest's supervisor knows no ${request.method} ${url.pathname}`)));
  else
    call(url.searchParams).then(
      (value) => send(200, JSON.stringify(value)),
      (error: unknown) => send(409, errorBody(error)),
    );
}

function upgrade({ streams }: Answers, request: IncomingMessage, socket: Socket): void {
  const url = new URL(request.url ?? '/', 'http://guest');
  const stream = streams[url.pathname];
  socket.on('error', () => {});
  const refuse = (error: unknown): void => {
    const body = errorBody(error);
    socket.end(`HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
  };
  if (stream === undefined) refuse(new UklError('UKL_USAGE', `this guest's supervisor knows no ${url.pathname}`));
  else stream(socket, url.searchParams).catch(refuse);
}

/** What tells the other end that the frames begin. */
export const UPGRADED = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${STREAMS}\r\n\r\n`;

/** Listens; only this user can enter the socket's directory. Throws UKL_HOST if the path is somebody's. */
export async function serve(path: string, answers: Answers): Promise<Server> {
  const server = createServer((request, response) => answer(answers, request, response));
  // Some only wait for the end of the connection, and ask nothing: see gone().
  server.headersTimeout = 0;
  server.requestTimeout = 0;
  server.on('upgrade', (request, socket) => upgrade(answers, request, socket as Socket));
  return listen(path, server).catch((error: unknown) => {
    throw new UklError('UKL_HOST', `could not listen on ${path}: ${errnoOf(error) ?? String(error)}`, {
      hint: 'a directory on a file system that has sockets; for detached guests, XDG_STATE_HOME=DIRECTORY',
      cause: error,
    });
  });
}
