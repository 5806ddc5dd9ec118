// SPDX-License-Identifier: MIT
import { randomBytes } from 'node:crypto';
import { createApp } from './app.ts';

const app = await createApp({
  database: process.env.DATABASE ?? '/data/notes.db',
  // Tokens of before a restart are void unless the secret is given.
  secret: process.env.SECRET ?? randomBytes(32).toString('hex'),
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void app.close().then(() => console.log('closed')));
}

await app.listen({ host: '0.0.0.0', port: 8080 });
console.log('listening');
