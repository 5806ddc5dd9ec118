// SPDX-License-Identifier: MIT
import jwt from '@fastify/jwt';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { z, ZodError } from 'zod';
import { Database } from './database.ts';
import { hashPassword, verifyPassword } from './passwords.ts';

const credentials = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{1,30}$/, 'lower-case letters, digits and dashes'),
  password: z.string().min(8).max(200),
});
const newNote = z.strictObject({ title: z.string().min(1).max(200), text: z.string().max(100_000).default('') });
const noteChange = z.strictObject({ title: newNote.shape.title.optional(), text: z.string().max(100_000).optional() });
const page = z.object({ after: z.coerce.number().int().min(0).default(0), limit: z.coerce.number().int().min(1).max(100).default(20) });
const byId = z.object({ id: z.coerce.number().int().positive() });

declare module '@fastify/jwt' {
  interface FastifyJWT {
    payload: { readonly id: number; readonly name: string };
    user: { readonly id: number; readonly name: string };
  }
}

export interface Settings {
  /** Of the database file. */
  readonly database: string;
  /** Signs the tokens. */
  readonly secret: string;
}

/** The API, not listening yet. */
export async function createApp({ database: path, secret }: Settings): Promise<FastifyInstance> {
  const database = new Database(path);
  const app = fastify();
  await app.register(jwt, { secret, sign: { expiresIn: '1h' } });
  app.addHook('onClose', () => database.close());
  app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
    if (error instanceof ZodError) return reply.code(400).send({ error: 'invalid', issues: error.issues.map(({ path, message }) => ({ path: path.join('.'), message })) });
    const status = error.statusCode ?? 500;
    if (status >= 500) console.error(error);
    return reply.code(status).send({ error: status < 500 ? error.message : 'internal error' });
  });

  app.get('/health', () => ({ ok: true }));

  app.post('/users', async (request, reply) => {
    const { name, password } = credentials.parse(request.body);
    const user = database.addUser(name, await hashPassword(password));
    if (user === undefined) return reply.code(409).send({ error: 'the name is taken' });
    return reply.code(201).send({ id: user.id, name: user.name });
  });

  app.post('/tokens', async (request, reply) => {
    const { name, password } = credentials.parse(request.body);
    const user = database.findUser(name);
    if (user === undefined || !(await verifyPassword(password, user.password))) return reply.code(401).send({ error: 'wrong name or password' });
    return reply.code(201).send({ token: app.jwt.sign({ id: user.id, name: user.name }) });
  });

  await app.register(async (notes) => {
    notes.addHook('onRequest', async (request: FastifyRequest) => {
      await request.jwtVerify();
    });

    notes.get('/', ({ query, user }) => {
      const { after, limit } = page.parse(query);
      return database.notes(user.id, after, limit);
    });

    notes.post('/', (request, reply) => {
      const { title, text } = newNote.parse(request.body);
      return reply.code(201).send(database.addNote(request.user.id, title, text));
    });

    notes.get('/:id', (request, reply) => database.note(request.user.id, byId.parse(request.params).id) ?? reply.code(404).send({ error: 'no such note' }));

    notes.patch('/:id', (request, reply) => {
      const change = noteChange.parse(request.body);
      return database.changeNote(request.user.id, byId.parse(request.params).id, change) ?? reply.code(404).send({ error: 'no such note' });
    });

    notes.delete('/:id', (request, reply) =>
      database.removeNote(request.user.id, byId.parse(request.params).id) ? reply.code(204).send() : reply.code(404).send({ error: 'no such note' }),
    );
  }, { prefix: '/notes' });

  return app;
}
