// SPDX-License-Identifier: MIT
/** What a container may say to this runtime alone. */
import { z } from 'zod';
import { parsePort } from '../devices/ports.js';
import { UklError } from '../lib/errors.js';
import { nearest } from '../lib/nearest.js';
import { parseSize } from '../lib/size.js';
import type { Ring } from '../model/index.js';
import { UNIKERNEL } from '../oci/unikernel.js';

const PREFIX = 'ukl.';

const list = (text: string): string[] => text.split(',').filter((word) => word !== '');

const path = z.string().startsWith('/', 'expected an absolute path of the container');

const KNOWN = {
  'ukl.ring': z.enum(['0', '3'], 'expected 0 or 3').transform((word): Ring => (word === '3' ? 3 : 0)),
  'ukl.ring0': z.string().transform(list).pipe(z.array(path)),
  'ukl.memory': z.string().refine((text) => parseSize(text) > 0),
  'ukl.cpus': z.string().regex(/^\d+$/, 'expected 1 to 64').transform(Number).pipe(z.int().min(1, 'expected 1 to 64').max(64, 'expected 1 to 64')),
  'ukl.publish': z
    .string()
    .transform(list)
    .refine((words) => words.map(parsePort).length > 0, 'expected [ADDRESS:]HOST:GUEST'),
  [UNIKERNEL]: path,
} as const;

const schema = z.object(KNOWN).partial();

export type Wishes = z.output<typeof schema>;

/** Throws UKL_CONFIG for one of ours that is not known, or wrong. */
export function wishesOf(annotations: Readonly<Record<string, string>>): Wishes {
  const ours = Object.fromEntries(Object.entries(annotations).filter(([name]) => name.startsWith(PREFIX)));
  const known = Object.keys(KNOWN);
  const unknown = Object.keys(ours).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const near = nearest(unknown, known);
    throw new UklError('UKL_CONFIG', `the annotation ${unknown} has no meaning`, { hint: near === undefined ? known.join(', ') : `did you mean ${near}?` });
  }
  for (const [name, text] of Object.entries(ours)) {
    let why: string | undefined;
    try {
      why = KNOWN[name as keyof typeof KNOWN].safeParse(text).error?.issues[0]?.message;
    } catch (error) {
      why = error instanceof Error ? error.message : String(error);
    }
    if (why !== undefined) throw new UklError('UKL_CONFIG', `the annotation ${name} is '${text}': ${why}`, { hint: 'docs/oci-runtime.md has all of them' });
  }
  return schema.parse(ours);
}
