// SPDX-License-Identifier: MIT
/** The HTTP server in front of functions: it finds the function of a request, and passes request and answer on. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Cron } from 'croner';
import { asUklError, errnoOf, UklError } from '../lib/errors.js';
import { parseSize } from '../lib/size.js';
import { Bodies, type Destination, destinationOf, idOf, passedOn, passedOnBy, Rejection } from './incoming.js';
import type { Call } from './instance.js';
import { Metrics } from './metrics.js';
import { Router } from './router.js';
import { type Capacity, Refusal, type Served, Service, type Shown } from './service.js';
import { statusServer } from './status.js';

export interface GatewayOptions {
  /** Where the gateway listens, on 127.0.0.1 unless `address` says otherwise; 0 is any free port. */
  readonly port?: number | undefined;
  readonly address?: string | undefined;
  /** Where status and metrics are, on 127.0.0.1 unless `statusAddress` says otherwise; 0, the default, is any free port. */
  readonly statusPort?: number | undefined;
  readonly statusAddress?: string | undefined;
  /** Instances that wait for each function that is in use (1). */
  readonly warm?: number | undefined;
  /** Instances at once, of all functions together (20). */
  readonly max?: number | undefined;
  /** What instances start from is made when a function is asked first, not before the gateway listens. */
  readonly lazy?: boolean | undefined;
  /** Takes what the gateway and the functions say, line by line. */
  readonly onLine?: ((line: string) => void) | undefined;
}

/** A gateway that listens. */
export interface Gateway extends AsyncDisposable {
  readonly url: string;
  /** Of the status page; /metrics is beside it. */
  readonly statusUrl: string;
  show(): readonly Shown[];
  /** Another version of a function, whose path stays; instances of the one before end with their last requests. Throws UKL_USAGE for one that is not there. */
  replace(served: Served): void;
  /** Takes no more connections, lets what is under way end, then ends all instances. */
  close(): Promise<void>;
}

/** Where a gateway listens that is a program of its own. */
export const GATEWAY_PORT = 8080;
export const GATEWAY_STATUS_PORT = 9090;

const DEFAULT_WARM = 1;
const DEFAULT_MAX = 20;

/** How long a connection without requests is kept: longer than clients keep theirs, which would use one that is just being closed. */
const KEEP_ALIVE_MS = 75_000;

/** How long the head of a request may take, and all of it; how often that is looked at. */
const HEAD_MS = 10_000;
const REQUEST_MS = 60_000;
const CHECK_MS = 1000;

/** Clients at once. */
const CONNECTIONS = 10_000;

/** How long requests that are under way may take when the gateway ends. */
const CLOSE_MS = 5000;

/** Places for instances. Who gets none is told when there is one. */
class Places implements Capacity {
  #taken = 0;
  readonly #hungry = new Set<Service>();
  services: readonly Service[] = [];

  constructor(private readonly max: number) {}

  take(service: Service): boolean {
    if (this.#taken < this.max) {
      this.#taken++;
      return true;
    }
    this.#hungry.add(service);
    // The one that had nothing to do for longest makes room; its end tells.
    const idle = this.services.filter(({ idleSince }) => idleSince !== undefined).sort((a, b) => (a.idleSince ?? 0) - (b.idleSince ?? 0));
    for (const other of idle) if (other !== service && other.yield()) break;
    return false;
  }

  give(): void {
    this.#taken--;
    const hungry = [...this.#hungry];
    this.#hungry.clear();
    for (const service of hungry) service.wake();
  }
}

/** Passes a body on; settles when all of it has come, whether or not it has gone out: the instance is free by then. */
async function relay(content: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const sent = pipeline(content, outgoing);
  sent.catch(() => {});
  await Promise.race([sent, once(content, 'end')]);
}

/** Takes the answers that nobody reads. */
const nowhere = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() });

async function listen(server: HttpServer, port: number, address: string): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, resolve);
  }).catch((error: unknown) => {
    if (errnoOf(error) === 'EADDRNOTAVAIL')
      throw new UklError('UKL_USAGE', `this host has no address ${address}`, { hint: '--address 0.0.0.0, for all that it has' });
    throw new UklError('UKL_PORT_TAKEN', `cannot listen on port ${port} of ${address} (${errnoOf(error) ?? String(error)})`, {
      hint: '--port 0, for any that is free',
      cause: error,
    });
  });
  return `http://${address.includes(':') ? `[${address}]` : address}:${(server.address() as AddressInfo).port}`;
}

/** What came before us is kept, as a proxy in front has said it. */
function forwarded({ headers, socket }: IncomingMessage): Readonly<Record<string, string>> {
  const { 'x-forwarded-for': before, 'x-forwarded-proto': scheme } = headers;
  return {
    'x-forwarded-for': [before, socket.remoteAddress].filter((one) => one !== undefined).join(', '),
    'x-forwarded-proto': scheme === 'https' ? 'https' : 'http',
  };
}

/**
 * Serves functions by HTTP.
 *
 * @throws UKL_CONFIG for options that do not fit together, UKL_PORT_TAKEN, and what keeps a function from being built
 */
export async function startGateway(served: readonly Served[], options: GatewayOptions = {}): Promise<Gateway> {
  const say = options.onLine ?? (() => {});
  const metrics = new Metrics();
  const max = options.max ?? DEFAULT_MAX;
  const capacity = new Places(max);
  const context = { capacity, metrics, warm: options.warm ?? DEFAULT_WARM, max, log: say };
  const services = served.map((one) => new Service(one, context));
  capacity.services = services;
  const router = new Router(services);
  const bodies = new Bodies();
  const crons = services.flatMap((service) =>
    [service.options.cron].flat().map((pattern) => {
      try {
        return { service, pattern, cron: new Cron(pattern, { paused: true, protect: true }) };
      } catch (error) {
        throw new UklError('UKL_CONFIG', `${service.name}: '${pattern}' is no time of cron's`, { hint: '"*/5 * * * *", each five minutes', cause: error });
      }
    }),
  );

  const record = (service: Service | undefined, { id, method, path }: Pick<Call, 'id' | 'method' | 'path'>, status: number, began: number): void => {
    const ms = performance.now() - began;
    const name = service?.name ?? '-';
    metrics.requests.at({ function: name, code: String(status) }).value++;
    if (service !== undefined) metrics.seconds.observe({ function: name }, ms / 1000);
    say(`${new Date().toISOString()} ${id} ${name} ${method} ${path} ${status} ${Math.round(ms)} ms`);
  };

  /** Answers by a function. Throws Rejection and Refusal. */
  const serve = async (service: Service, to: Destination, id: string, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const gone = new AbortController();
    outgoing.once('close', () => gone.abort());
    const { body, release } = await bodies.read(incoming, outgoing, parseSize(service.options.maxBody));
    const call: Call = {
      id,
      method: incoming.method ?? 'GET',
      path: to.url,
      headers: {
        ...passedOnBy(incoming),
        ...(to.host === undefined ? {} : { host: to.host }),
        // Whatever it was framed by.
        ...(body === undefined ? {} : { 'content-length': body.length }),
        'x-request-id': id,
        ...forwarded(incoming),
      },
      body,
      signal: gone.signal,
      unread: () => outgoing.writableNeedDrain,
    };
    try {
      await service.call(call, async (answer, content) => {
        outgoing.writeHead(answer.statusCode ?? 502, { ...passedOn(answer.headers), 'x-request-id': id });
        if (Buffer.isBuffer(content)) outgoing.end(content);
        else await relay(content, outgoing);
      });
    } finally {
      release();
    }
  };

  const handle = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const began = performance.now();
    const id = idOf(incoming.headers);
    const { method = 'GET', url = '/', headers } = incoming;
    outgoing.setHeader('x-request-id', id);
    const refuse = (status: number, message: string): void => {
      if (outgoing.headersSent) return void outgoing.destroy();
      if (status === 429 || status === 503) outgoing.setHeader('retry-after', '1');
      // What is still to come of the request is not waited for.
      outgoing.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(`${message}\n`);
    };
    let service: Service | undefined;
    try {
      const to = destinationOf(url, headers.host);
      service = router.find(to.host, to.path);
      if (service === undefined) throw new Rejection(404, 'no function has this path');
      await serve(service, to, id, incoming, outgoing);
    } catch (error) {
      if (error instanceof Refusal || error instanceof Rejection) refuse(error.status, error.message);
      else if (!outgoing.closed) {
        say(`${id} ${asUklError(error).message}`);
        refuse(502, 'the function could not be asked');
      }
    }
    record(service, { id, method, path: url }, outgoing.headersSent ? outgoing.statusCode : 499, began);
  };

  const callByTime = async (service: Service, pattern: string): Promise<void> => {
    const began = performance.now();
    const id = randomUUID();
    const call: Call = {
      id,
      method: 'POST',
      path: service.path,
      headers: { host: service.host ?? 'localhost', 'x-ukl-cron': pattern, 'content-length': '0', 'x-request-id': id },
      body: undefined,
      signal: new AbortController().signal,
      unread: () => false,
    };
    let status = 502;
    await service
      .call(call, async (answer, body) => {
        status = answer.statusCode ?? 502;
        if (!Buffer.isBuffer(body)) await pipeline(body, nowhere());
      })
      .catch((error: unknown) => {
        if (error instanceof Refusal) status = error.status;
      });
    record(service, call, status, began);
  };

  const take = (incoming: IncomingMessage, outgoing: ServerResponse): void => void handle(incoming, outgoing);
  const server = createServer({ headersTimeout: HEAD_MS, requestTimeout: REQUEST_MS, connectionsCheckingInterval: CHECK_MS }, take);
  // Whether to go on is said once it is known that somebody takes the body.
  server.on('checkContinue', take);
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.maxConnections = CONNECTIONS;
  const show = (): readonly Shown[] => services.map((service) => service.show());
  const status = statusServer({ show, metrics: () => metrics.text() });
  const close = async (): Promise<void> => {
    for (const { cron } of crons) cron.stop();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const late = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
    if (server.listening) await closed;
    clearTimeout(late);
    status.closeAllConnections();
    status.close();
    await Promise.all(services.map((service) => service.close()));
  };
  try {
    const wanted = options.lazy ? services.filter((service) => service.options.min > 0) : services;
    // One after the other: each takes a processor or two.
    for (const service of wanted) await service.open();
    const url = await listen(server, options.port ?? 0, options.address ?? '127.0.0.1');
    const statusUrl = await listen(status, options.statusPort ?? 0, options.statusAddress ?? '127.0.0.1');
    for (const { service, pattern, cron } of crons) cron.schedule(() => callByTime(service, pattern)).resume();
    return {
      url,
      statusUrl,
      show,
      replace(changed) {
        const service = services.find(({ name }) => name === changed.name);
        if (service === undefined) throw new UklError('UKL_USAGE', `no function is called ${changed.name}`, { hint: 'start the gateway again' });
        service.replace(changed);
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
