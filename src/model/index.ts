// SPDX-License-Identifier: MIT
/** The nouns that cross the borders between stages: plain data, never changed. What is on disk has a schema. */
export type * from './app.js';
export type * from './image.js';
export type * from './kernel.js';
export type * from './machine.js';
export type * from './requirement.js';
export type * from './run.js';
export type * from './snapshot.js';
