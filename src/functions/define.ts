// SPDX-License-Identifier: MIT
/** What a function's own file imports from 'ukl'. It is in the guest as well, and imports nothing but types. */
import type { FunctionConfig } from '../options/function.js';

export type { FunctionConfig };

/** Answers a request; what it throws is answered by 500. */
export type FunctionHandler = (request: Request, context: FunctionContext) => Response | Promise<Response>;

export interface FunctionContext {
  /** Of the request, as the gateway's log has it. */
  readonly id: string;
  /** Aborts when the time that the function may take is over. */
  readonly signal: AbortSignal;
}

export interface FunctionDefinition {
  readonly config: FunctionConfig;
  readonly handler: FunctionHandler;
}

/**
 * A function, as the default export of NAME.function.ts:
 *
 *     export default defineFunction({ memory: '256M' }, (request) => new Response('hi'));
 *
 * The options are read without running the program: they depend on nothing that it imports.
 */
export function defineFunction(config: FunctionConfig, handler: FunctionHandler): FunctionDefinition {
  return { config, handler };
}
