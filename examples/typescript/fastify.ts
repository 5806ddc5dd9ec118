// SPDX-License-Identifier: MIT
import fastify from 'fastify';

const app = fastify();

app.get<{ Params: { name: string } }>(
  '/hello/:name',
  { schema: { params: { type: 'object', properties: { name: { type: 'string', minLength: 2 } } }, response: { 200: { type: 'object', properties: { hello: { type: 'string' } } } } } },
  async ({ params }) => ({ hello: params.name }),
);

await app.listen({ port: 8080, host: '0.0.0.0' });
console.log('listening');
