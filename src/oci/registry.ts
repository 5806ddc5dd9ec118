// SPDX-License-Identifier: MIT
/** Registries: github.com/opencontainers/distribution-spec, version 1.1, and docker's tokens. */
import { errnoOf, UklError } from '../lib/errors.js';
import { findCredentials } from './credentials.js';
import { type Bytes, checkDigest, collect, digestOf } from './digest.js';
import { type Reference, showReference } from './reference.js';
import type { Document, Sink, Source } from './source.js';
import { type Descriptor, MANIFEST_MAX, MEDIA } from './spec.js';

type RegistryReference = Extract<Reference, { kind: 'registry' }>;

interface Ask {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Bytes | Uint8Array;
  /** Statuses that are answers, not failures. */
  readonly expected?: readonly number[];
}

const MANIFESTS = [MEDIA.manifest, MEDIA.index, MEDIA.dockerManifest, MEDIA.dockerIndex].join(', ');

/** Without TLS, only this machine can be a registry. */
export const isLoopback = (host: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(host);

/** A challenge's parameters: RFC 9110, 11.6.1. */
function challengeOf(header: string): { readonly scheme: string; readonly parameters: Readonly<Record<string, string>> } {
  const [, scheme = '', rest = ''] = /^(\w+)\s*(.*)$/s.exec(header) ?? [];
  return {
    scheme: scheme.toLowerCase(),
    parameters: Object.fromEntries([...rest.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value])),
  };
}

/** Throws UKL_REGISTRY if it ends early. */
async function* bodyOf(response: Response, signal?: AbortSignal): AsyncGenerator<Buffer> {
  if (response.body === null) return;
  try {
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  } catch (cause) {
    signal?.throwIfAborted();
    throw new UklError('UKL_REGISTRY', `what ${new URL(response.url).host} sent was cut off`, { cause, hint: 'nothing of it was kept; try again' });
  }
}

/** A repository of a registry, for pulling, or for pushing as well. */
class Repository {
  readonly name: string;
  readonly #reference: RegistryReference;
  readonly #actions: string;
  readonly #signal: AbortSignal | undefined;
  readonly #base: URL;
  #authorization: string | undefined;

  constructor(reference: RegistryReference, actions: 'pull' | 'pull,push', signal: AbortSignal | undefined) {
    this.#reference = reference;
    this.#actions = actions;
    this.#signal = signal;
    this.name = showReference(reference);
    const { host, repository } = reference;
    // Docker's own has another name for its interface, and a prefix that people leave out.
    const [server, path] =
      host === 'docker.io' ? ['registry-1.docker.io', repository.includes('/') ? repository : `library/${repository}`] : [host, repository];
    this.#base = new URL(`${isLoopback(host) ? 'http' : 'https'}://${server}/v2/${path}/`);
  }

  /** Throws UKL_REGISTRY, UKL_NO_TARGET for what is not there. */
  async ask(path: string, ask: Ask = {}): Promise<Response> {
    const url = new URL(path, this.#base);
    let response = await this.#send(url, ask);
    // What is being uploaded cannot be sent twice; who uploads has asked before.
    if (response.status === 401 && (ask.body === undefined || ask.body instanceof Uint8Array)) {
      await response.body?.cancel();
      this.#authorization = await this.#authorize(response.headers.get('www-authenticate') ?? '');
      response = await this.#send(url, ask);
    }
    if (response.ok || ask.expected?.includes(response.status)) return response;
    throw await this.#failure(response, url);
  }

  async #send(url: URL, { method = 'GET', headers = {}, body }: Ask): Promise<Response> {
    // An upload may go to another host, whom our words are not for.
    const authorization = url.origin === this.#base.origin ? this.#authorization : undefined;
    return this.#fetch(url, {
      method,
      headers: { 'user-agent': 'ukl', ...headers, ...(authorization === undefined ? {} : { authorization }) },
      ...(body === undefined ? {} : { body: body as NonNullable<RequestInit['body']>, duplex: 'half' as const }),
    });
  }

  async #fetch(url: URL, init: RequestInit): Promise<Response> {
    try {
      return await fetch(url, { ...init, ...(this.#signal === undefined ? {} : { signal: this.#signal }) });
    } catch (error) {
      this.#signal?.throwIfAborted();
      const cause = error instanceof Error ? error.cause : undefined;
      if (cause instanceof UklError) throw cause;
      const why = errnoOf(cause) ?? (cause instanceof Error ? cause.message : String(error));
      throw new UklError('UKL_REGISTRY', `${url.host} cannot be reached (${why})`, {
        cause: error,
        hint: isLoopback(url.host)
          ? `is a registry running there? curl ${url.origin}/v2/`
          : `curl ${url.origin}/v2/; NODE_EXTRA_CA_CERTS=FILE for a certificate of your own`,
      });
    }
  }

  /** The word for further requests that a challenge asks for. */
  async #authorize(header: string): Promise<string> {
    const { host, repository } = this.#reference;
    const { scheme, parameters } = challengeOf(header);
    const known = await findCredentials(host, repository);
    if (scheme === 'basic' && known !== undefined) return `Basic ${known}`;
    if (scheme !== 'bearer' || !URL.canParse(parameters.realm ?? ''))
      throw this.#refused(known === undefined ? 'it asks who you are' : 'it asks in a way that ukl does not know');
    const realm = new URL(parameters.realm ?? '');
    if (realm.protocol !== 'https:' && !isLoopback(realm.host)) {
      throw new UklError('UKL_REGISTRY', `${host} wants a password sent to ${realm.host} without TLS`, { hint: 'a registry whose tokens come by https' });
    }
    realm.searchParams.set('service', parameters.service ?? '');
    realm.searchParams.set('scope', `repository:${this.#base.pathname.slice('/v2/'.length, -1)}:${this.#actions}`);
    const response = await this.#fetch(realm, { headers: known === undefined ? {} : { authorization: `Basic ${known}` } });
    if (!response.ok) throw this.#refused(`${realm.host} gives no token: status ${response.status}`);
    const answer: unknown = await response.json().catch(() => undefined);
    const { token, access_token: other } = (answer ?? {}) as { readonly token?: unknown; readonly access_token?: unknown };
    const word = typeof token === 'string' ? token : other;
    if (typeof word !== 'string') throw this.#refused(`${realm.host} gives no token`);
    return `Bearer ${word}`;
  }

  #refused(why: string): UklError {
    const { host } = this.#reference;
    return new UklError('UKL_REGISTRY', `${host} does not let us ${this.#actions === 'pull' ? 'pull' : 'push'} ${this.name}: ${why}`, {
      hint: `podman login ${host}, or docker login ${host}`,
    });
  }

  async #failure(response: Response, url: URL): Promise<UklError> {
    const text = (await collect(bodyOf(response), 64 * 1024, 'an answer').catch(() => Buffer.alloc(0))).toString();
    const { host } = this.#reference;
    if (response.status === 401 || response.status === 403) return this.#refused(`status ${response.status}`);
    if (response.status === 404) {
      return new UklError('UKL_NO_TARGET', `${this.name} is not there`, {
        hint: `skopeo list-tags docker://${host}/${this.#reference.repository}`,
        details: text,
      });
    }
    return new UklError('UKL_REGISTRY', `${host} answered ${url.pathname} with status ${response.status}`, {
      details: text.slice(0, 2000),
      hint: response.status === 429 ? 'it has had too many requests: try again later, or log in' : 'try again later',
    });
  }

  async manifest(wanted: string, digest: string | undefined): Promise<Document> {
    const response = await this.ask(`manifests/${wanted}`, { headers: { accept: MANIFESTS } });
    const bytes = await collect(bodyOf(response), MANIFEST_MAX, `the manifest of ${this.name}`);
    // Of a tag, only the registry knows which it is.
    const said = digest ?? response.headers.get('docker-content-digest') ?? digestOf(bytes);
    checkDigest(bytes, said, this.name);
    const mediaType = (response.headers.get('content-type') ?? MEDIA.manifest).replace(/;.*/, '').trim();
    return { descriptor: { mediaType, digest: said, size: bytes.length }, bytes };
  }
}

/** An image of a registry. */
export function registrySource(reference: RegistryReference, signal: AbortSignal | undefined): Source {
  const repository = new Repository(reference, 'pull', signal);
  return {
    name: repository.name,
    root: () => repository.manifest(reference.digest ?? reference.tag, reference.digest),
    document: async ({ digest, mediaType }) => {
      const document = await repository.manifest(digest, digest);
      return { ...document, descriptor: { ...document.descriptor, mediaType } };
    },
    blob: async ({ digest }) => bodyOf(await repository.ask(`blobs/${digest}`), signal),
  };
}

/** A place for an image in a registry, which shows it once its manifest is there. */
export function registrySink(reference: RegistryReference, signal: AbortSignal | undefined): Sink {
  const repository = new Repository(reference, 'pull,push', signal);
  return {
    name: repository.name,
    has: async ({ digest }: Descriptor) => (await repository.ask(`blobs/${digest}`, { method: 'HEAD', expected: [404] })).ok,
    put: async ({ digest, size }, bytes) => {
      const begun = await repository.ask('blobs/uploads/', { method: 'POST', body: new Uint8Array() });
      const location = begun.headers.get('location');
      await begun.body?.cancel();
      if (location === null)
        throw new UklError('UKL_REGISTRY', `${reference.host} does not say where to upload to`, { hint: 'it is no registry that ukl knows' });
      const place = new URL(location, begun.url);
      place.searchParams.set('digest', digest);
      const done = await repository.ask(place.href, {
        method: 'PUT',
        headers: { 'content-type': 'application/octet-stream', 'content-length': String(size) },
        body: bytes,
      });
      await done.body?.cancel();
    },
    finish: async ({ descriptor, bytes }) => {
      const done = await repository.ask(`manifests/${reference.tag}`, { method: 'PUT', headers: { 'content-type': descriptor.mediaType }, body: bytes });
      await done.body?.cancel();
      const said = done.headers.get('docker-content-digest');
      if (said !== null && said !== descriptor.digest) {
        throw new UklError('UKL_REGISTRY', `${reference.host} has kept ${said} in place of ${descriptor.digest}`, { hint: 'it is no registry to rely on' });
      }
    },
    abandon: async () => {},
  };
}
