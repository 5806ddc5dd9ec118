// SPDX-License-Identifier: MIT
/** Which function a request is for. */
import { UklError } from '../lib/errors.js';

export interface Route {
  readonly name: string;
  /** "/api": this path, and all below it. */
  readonly path: string;
  /** Without a port; undefined for all. */
  readonly host: string | undefined;
}

/** Without a slash at its end. */
const bare = (path: string): string => (path.length > 1 ? path.replace(/\/+$/, '') || '/' : path);

/** The one with the longest path, one for the request's own host first. */
export class Router<R extends Route> {
  readonly #hosts = new Map<string | undefined, Map<string, R>>();

  /** Throws UKL_CONFIG for two routes of one path and host. */
  constructor(routes: readonly R[]) {
    for (const route of routes) {
      const host = route.host?.toLowerCase();
      const paths = this.#hosts.get(host) ?? new Map<string, R>();
      const other = paths.get(bare(route.path));
      if (other !== undefined)
        throw new UklError('UKL_CONFIG', `${other.name} and ${route.name} have the same path: ${route.path}`, { hint: 'path or host in their options' });
      this.#hosts.set(host, paths.set(bare(route.path), route));
    }
  }

  find(host: string | undefined, path: string): R | undefined {
    const name = host?.replace(/:\d+$/, '').replace(/\.$/, '').toLowerCase();
    return (name === undefined ? undefined : this.#among(name, path)) ?? this.#among(undefined, path);
  }

  #among(host: string | undefined, path: string): R | undefined {
    const paths = this.#hosts.get(host);
    if (paths === undefined) return undefined;
    for (let rest = bare(path); ; rest = rest.slice(0, rest.lastIndexOf('/')) || '/') {
      const found = paths.get(rest);
      if (found !== undefined || rest === '/') return found;
    }
  }
}
