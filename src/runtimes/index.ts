// SPDX-License-Identifier: MIT
/** The kinds of programs that ukl takes. A new one is a folder and a line here. */

import { UklError } from '../lib/errors.js';
import { Registry } from '../lib/registry.js';
import type { ResolvedConfig } from '../options/config.js';
import { container } from './container/container.js';
import { native } from './native/native.js';
import { node } from './node/runtime.js';
import type { Runtime, RuntimeName } from './runtime.js';

export const runtimes = new Registry<RuntimeName, Runtime>('runtime', [node, container, native]);

/** The runtime that a configuration is for. Throws UKL_BUG: the schema asks for one. */
export function runtimeOf(config: ResolvedConfig): Runtime {
  const found = runtimes.list().find((runtime) => runtime.takes(config));
  if (found === undefined) throw new UklError('UKL_BUG', 'no runtime takes this configuration');
  return found;
}
