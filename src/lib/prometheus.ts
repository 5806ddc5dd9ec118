// SPDX-License-Identifier: MIT
/** Numbers in the text format of Prometheus (prometheus.io/docs/instrumenting/exposition_formats). */

type Labels = Readonly<Record<string, string>>;

const escape = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

function labelled(name: string, labels: Labels): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${escape(value)}"`);
  return pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`;
}

/** Upper bounds in seconds, for answers and for starts. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** A number for each set of labels. */
export class Family {
  readonly #values = new Map<string, { readonly labels: Labels; value: number }>();

  constructor(
    readonly name: string,
    readonly help: string,
    readonly type: 'counter' | 'gauge',
  ) {}

  at(labels: Labels): { value: number } {
    const key = labelled('', labels);
    const one = this.#values.get(key) ?? { labels, value: 0 };
    this.#values.set(key, one);
    return one;
  }

  lines(): string[] {
    return [...this.#values.values()].map(({ labels, value }) => `${labelled(this.name, labels)} ${value}`);
  }
}

/** How long things took: how many within each of the bounds, and in all. */
export class Histogram {
  readonly type = 'histogram';
  readonly #values = new Map<string, { readonly labels: Labels; readonly counts: number[]; sum: number; count: number }>();

  constructor(
    readonly name: string,
    readonly help: string,
  ) {}

  observe(labels: Labels, seconds: number): void {
    const key = labelled('', labels);
    const one = this.#values.get(key) ?? { labels, counts: BUCKETS.map(() => 0), sum: 0, count: 0 };
    this.#values.set(key, one);
    BUCKETS.forEach((bound, index) => {
      if (seconds <= bound) one.counts[index] = (one.counts[index] ?? 0) + 1;
    });
    one.sum += seconds;
    one.count++;
  }

  lines(): string[] {
    return [...this.#values.values()].flatMap(({ labels, counts, sum, count }) => [
      ...BUCKETS.map((bound, index) => `${labelled(`${this.name}_bucket`, { ...labels, le: String(bound) })} ${counts[index]}`),
      `${labelled(`${this.name}_bucket`, { ...labels, le: '+Inf' })} ${count}`,
      `${labelled(`${this.name}_sum`, labels)} ${sum}`,
      `${labelled(`${this.name}_count`, labels)} ${count}`,
    ]);
  }
}

/** The numbers as one document. */
export const exposition = (families: readonly (Family | Histogram)[]): string =>
  families.flatMap((family) => [`# HELP ${family.name} ${family.help}`, `# TYPE ${family.name} ${family.type}`, ...family.lines(), '']).join('\n');

/** Of an answer with such a document. */
export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
