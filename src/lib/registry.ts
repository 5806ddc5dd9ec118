// SPDX-License-Identifier: MIT
import { UklError } from './errors.js';

/** The entries of a kind that a user can name: runtimes, containers, VMMs, kernel lines. */
export class Registry<Name extends string, Entry extends { readonly name: Name }> {
  readonly #kind: string;
  readonly #entries: ReadonlyMap<Name, Entry>;

  /** @param kind what an entry is, for messages: "VMM" */
  constructor(kind: string, entries: readonly Entry[]) {
    this.#kind = kind;
    this.#entries = new Map(entries.map((entry) => [entry.name, entry]));
  }

  get names(): readonly Name[] {
    return [...this.#entries.keys()];
  }

  list(): readonly Entry[] {
    return [...this.#entries.values()];
  }

  /** Throws UKL_USAGE for a name without an entry. */
  get(name: Name): Entry {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new UklError('UKL_USAGE', `there is no ${this.#kind} '${name}'`, { hint: `one of ${this.names.join(', ')}` });
    return entry;
  }
}
