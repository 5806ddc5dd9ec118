// SPDX-License-Identifier: MIT
/** The HTTP server in front of functions: it finds the function of a request, and passes request and answer on. */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Cron } from 'croner';
import { asUklError, errnoOf, UklError } from '../lib/errors.js';
import { type Log, silentLog } from '../lib/log.js';
import { type OpenSnapshot, openSnapshot } from '../run/snapshot.js';
import { buildFunction } from './build.js';
import type { FunctionSource } from './discover.js';
import type { Call } from './instance.js';
import { Metrics } from './metrics.js';
import { Router } from './router.js';
import { type Capacity, Refusal, Service, type Shown } from './service.js';
import { statusServer } from './status.js';

export interface ServeOptions {
  /** Where the gateway listens, on 127.0.0.1 unless `address` says otherwise; 0 is any free port. */
  readonly port?: number | undefined;
  readonly address?: string | undefined;
  /** Where status and metrics are, on 127.0.0.1; 0, the default, is any free port. */
  readonly statusPort?: number | undefined;
  /** VMMs that wait for each function that is in use (1). */
  readonly warm?: number | undefined;
  /** Instances at once, of all functions together (20). */
  readonly max?: number | undefined;
  /** Snapshots are made when a function is asked first, not before the gateway listens. */
  readonly lazy?: boolean | undefined;
  /** Values of secrets, by function and name. */
  readonly secrets?: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined;
  /** Takes what the gateway and the functions say, line by line. */
  readonly onLine?: ((line: string) => void) | undefined;
  readonly log?: Log | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A gateway that listens. */
export interface Gateway extends AsyncDisposable {
  readonly url: string;
  /** Of the status page; /metrics is beside it. */
  readonly statusUrl: string;
  show(): readonly Shown[];
  /** Builds a new version of a function, whose path stays; instances of the one before end with their last requests. */
  rebuild(source: FunctionSource): Promise<void>;
  /** Takes no more connections, lets what is under way end, then ends all instances. */
  close(): Promise<void>;
}

const DEFAULT_WARM = 1;
const DEFAULT_MAX = 20;

/** How long a connection without requests is kept: longer than clients keep theirs, which would use one that is just being closed. */
const KEEP_ALIVE_MS = 75_000;

/** How long requests that are under way may take when the gateway ends. */
const CLOSE_MS = 5000;

/** Headers that are between two neighbours only (RFC 9110, 7.6.1). */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'proxy-authenticate',
  'proxy-authorization',
]);

/** A request ID that somebody in front of us may give. */
const ID = /^[\w.:-]{1,128}$/;

function passedOn(headers: IncomingMessage['headers']): OutgoingHttpHeaders {
  const own = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name) && !own.has(name)));
}

/** What a function gets of the gateway's variables and secrets. Throws UKL_CONFIG for one that is missing. */
function variablesOf({ name, options }: FunctionSource, secrets: ServeOptions['secrets']): Readonly<Record<string, string>> {
  const given: Record<string, string> = {};
  for (const key of options.env) {
    const value = process.env[key];
    if (value !== undefined) given[key] = value;
  }
  for (const key of options.secrets) {
    const value = secrets?.[name]?.[key];
    if (value === undefined)
      throw new UklError('UKL_CONFIG', `the function ${name} needs the secret ${key}`, { hint: `--secrets FILE, with {"${name}": {"${key}": "..."}}` });
    given[key] = value;
  }
  return given;
}

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

/** Takes the answers that nobody reads. */
const nowhere = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() });

async function listen(server: Server, port: number, address: string): Promise<string> {
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

/**
 * Serves functions by HTTP.
 *
 * @throws UKL_CONFIG for options that do not fit together, UKL_PORT_TAKEN, and what keeps a function from being built
 */
export async function serveFunctions(sources: readonly FunctionSource[], options: ServeOptions = {}): Promise<Gateway> {
  const log = options.log ?? silentLog;
  const say = options.onLine ?? (() => {});
  const metrics = new Metrics();
  const max = options.max ?? DEFAULT_MAX;
  const capacity = new Places(max);
  const open = async (source: FunctionSource): Promise<OpenSnapshot> => {
    const { name } = await buildFunction(source, { log, signal: options.signal });
    return openSnapshot(name, { log });
  };
  const context = { capacity, metrics, warm: options.warm ?? DEFAULT_WARM, max, open, log: say };
  const services = sources.map((source) => new Service(source, variablesOf(source, options.secrets), context));
  capacity.services = services;
  const router = new Router(services);
  const crons = services.flatMap((service) =>
    [service.source.options.cron].flat().map((pattern) => {
      try {
        return { service, pattern, cron: new Cron(pattern, { paused: true, protect: true }) };
      } catch (error) {
        throw new UklError('UKL_CONFIG', `${service.name}: '${pattern}' is no time of cron's`, { hint: '"*/5 * * * *", each five minutes', cause: error });
      }
    }),
  );

  const record = (service: Service | undefined, call: Pick<Call, 'id' | 'method' | 'path'>, status: number, began: number): void => {
    const ms = performance.now() - began;
    const name = service?.name ?? '-';
    metrics.requests.at({ function: name, code: String(status) }).value++;
    if (service !== undefined) metrics.seconds.observe({ function: name }, ms / 1000);
    say(`${new Date().toISOString()} ${call.id} ${name} ${call.method} ${call.path} ${status} ${Math.round(ms)} ms`);
  };

  const handle = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const began = performance.now();
    const given = incoming.headers['x-request-id'];
    const id = typeof given === 'string' && ID.test(given) ? given : randomUUID();
    const { method = 'GET', url = '/' } = incoming;
    outgoing.setHeader('x-request-id', id);
    const gone = new AbortController();
    outgoing.once('close', () => gone.abort());
    const path = url.replace(/[?#].*$/s, '');
    const service = router.find(incoming.headers.host, path);
    const refuse = (status: number, message: string): void => {
      if (outgoing.headersSent) return void outgoing.destroy();
      if (status === 429 || status === 503) outgoing.setHeader('retry-after', '1');
      // What is still to come of the request is not waited for.
      outgoing.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(`${message}\n`);
    };
    const hasBody =
      incoming.headers['content-length'] !== undefined ? incoming.headers['content-length'] !== '0' : incoming.headers['transfer-encoding'] !== undefined;
    const call: Call = {
      id,
      method,
      path: url,
      headers: {
        ...passedOn(incoming.headers),
        'x-request-id': id,
        'x-forwarded-for': [incoming.headers['x-forwarded-for'], incoming.socket.remoteAddress].filter((one) => one !== undefined).join(', '),
        'x-forwarded-proto': 'http',
      },
      body: hasBody ? incoming : undefined,
      signal: gone.signal,
    };
    try {
      if (service === undefined) throw new UklError('UKL_USAGE', 'no function has this path');
      await service.call(call, async (answer, body) => {
        outgoing.writeHead(answer.statusCode ?? 502, { ...passedOn(answer.headers), 'x-request-id': id });
        if (Buffer.isBuffer(body)) outgoing.end(body);
        else await pipeline(body, outgoing);
      });
    } catch (error) {
      if (error instanceof Refusal) refuse(error.status, error.message);
      else if (service === undefined) refuse(404, 'no function has this path');
      else {
        say(`${id} ${asUklError(error).message}`);
        refuse(502, 'the function could not be asked');
      }
    }
    record(service, call, outgoing.headersSent ? outgoing.statusCode : 499, began);
  };

  const callByTime = async (service: Service, pattern: string): Promise<void> => {
    const began = performance.now();
    const call: Call = {
      id: randomUUID(),
      method: 'POST',
      path: service.path,
      headers: { host: service.host ?? 'localhost', 'x-ukl-cron': pattern, 'content-length': '0' },
      body: undefined,
      signal: new AbortController().signal,
    };
    let status = 502;
    await service
      .call({ ...call, headers: { ...call.headers, 'x-request-id': call.id } }, async (answer, body) => {
        status = answer.statusCode ?? 502;
        if (!Buffer.isBuffer(body)) await pipeline(body, nowhere());
      })
      .catch((error: unknown) => {
        if (error instanceof Refusal) status = error.status;
      });
    record(service, call, status, began);
  };

  const server = createServer((incoming, outgoing) => void handle(incoming, outgoing));
  server.keepAliveTimeout = KEEP_ALIVE_MS;
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
    const wanted = options.lazy ? services.filter(({ source }) => source.options.min > 0) : services;
    // One after the other: each takes a processor or two.
    for (const service of wanted) await service.open();
    const url = await listen(server, options.port ?? 0, options.address ?? '127.0.0.1');
    const statusUrl = await listen(status, options.statusPort ?? 0, '127.0.0.1');
    for (const { service, pattern, cron } of crons) cron.schedule(() => callByTime(service, pattern)).resume();
    return {
      url,
      statusUrl,
      show,
      async rebuild(source) {
        const service = services.find(({ name }) => name === source.name);
        if (service === undefined) throw new UklError('UKL_USAGE', `no function is called ${source.name}`, { hint: 'start the gateway again' });
        const given = variablesOf(source, options.secrets);
        await buildFunction(source, { log, signal: options.signal });
        service.replace(source, given);
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
