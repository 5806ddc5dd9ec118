// SPDX-License-Identifier: MIT
/** Tests of the API, wherever it runs: API_URL says where. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';

const url = process.env.API_URL ?? 'http://127.0.0.1:8080';

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

async function ask(method: string, path: string, options: { readonly token?: string; readonly body?: unknown } = {}): Promise<Answer> {
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
}

/** Names that no run before has used. */
const unique = (name: string): string => `${name}-${Date.now().toString(36)}-${Math.floor(Math.random() * 1e6).toString(36)}`;

async function signUp(name: string): Promise<string> {
  const body = { name, password: 'correct horse' };
  assert.equal((await ask('POST', '/users', { body })).status, 201);
  const { status, body: answer } = await ask('POST', '/tokens', { body });
  assert.equal(status, 201);
  return (answer as { token: string }).token;
}

test('health', async () => {
  assert.deepEqual(await ask('GET', '/health'), { status: 200, body: { ok: true } });
});

describe('users', () => {
  test('a name is taken once', async () => {
    const body = { name: unique('ann'), password: 'correct horse' };
    assert.equal((await ask('POST', '/users', { body })).status, 201);
    assert.equal((await ask('POST', '/users', { body })).status, 409);
  });

  test('names and passwords have rules', async () => {
    const { status, body } = await ask('POST', '/users', { body: { name: 'A B', password: 'short' } });
    assert.equal(status, 400);
    assert.deepEqual((body as { issues: { path: string }[] }).issues.map(({ path }) => path), ['name', 'password']);
    assert.equal((await ask('POST', '/users', { body: { name: 'ann', password: 'long enough', admin: true } })).status, 400);
  });

  test('a wrong password gets no token', async () => {
    const name = unique('bob');
    await signUp(name);
    assert.equal((await ask('POST', '/tokens', { body: { name, password: 'wrong horse' } })).status, 401);
    assert.equal((await ask('POST', '/tokens', { body: { name: unique('nobody'), password: 'wrong horse' } })).status, 401);
  });
});

describe('notes', () => {
  let token: string;
  before(async () => {
    token = await signUp(unique('carl'));
  });

  test('are for who has a token', async () => {
    assert.equal((await ask('GET', '/notes')).status, 401);
    assert.equal((await ask('GET', '/notes', { token: 'eyJhbGciOiJub25lIn0.e30.' })).status, 401);
  });

  test('are written, read, changed and removed', async () => {
    const { status, body } = await ask('POST', '/notes', { token, body: { title: 'first', text: 'ünïcode ☃' } });
    assert.equal(status, 201);
    const note = body as { id: number; title: string; text: string; changed: string };
    assert.deepEqual(await ask('GET', `/notes/${note.id}`, { token }), { status: 200, body: note });
    const changed = (await ask('PATCH', `/notes/${note.id}`, { token, body: { title: 'second' } })).body as typeof note;
    assert.equal(changed.title, 'second');
    assert.equal(changed.text, note.text);
    assert.equal((await ask('DELETE', `/notes/${note.id}`, { token })).status, 204);
    assert.equal((await ask('GET', `/notes/${note.id}`, { token })).status, 404);
    assert.equal((await ask('DELETE', `/notes/${note.id}`, { token })).status, 404);
  });

  test('belong to one user', async () => {
    const { id } = (await ask('POST', '/notes', { token, body: { title: 'mine' } })).body as { id: number };
    const other = await signUp(unique('dora'));
    assert.equal((await ask('GET', `/notes/${id}`, { token: other })).status, 404);
    assert.equal((await ask('PATCH', `/notes/${id}`, { token: other, body: { title: 'yours' } })).status, 404);
    assert.equal((await ask('DELETE', `/notes/${id}`, { token: other })).status, 404);
  });

  test('come in pages', async () => {
    const reader = await signUp(unique('eve'));
    for (let n = 1; n <= 5; n++) await ask('POST', '/notes', { token: reader, body: { title: `note ${n}` } });
    const titles = async (query: string): Promise<{ id: number; title: string }[]> => (await ask('GET', `/notes${query}`, { token: reader })).body as { id: number; title: string }[];
    const first = await titles('?limit=2');
    assert.deepEqual(first.map(({ title }) => title), ['note 1', 'note 2']);
    assert.deepEqual((await titles(`?limit=10&after=${first[1]?.id}`)).map(({ title }) => title), ['note 3', 'note 4', 'note 5']);
    assert.equal((await ask('GET', '/notes?limit=0', { token: reader })).status, 400);
  });

  test('what is not JSON is refused', async () => {
    const response = await fetch(`${url}/notes`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: '{' });
    assert.equal(response.status, 400);
  });

  test('many writers at once lose nothing', async () => {
    const writer = await signUp(unique('fay'));
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => ask('POST', '/notes', { token: writer, body: { title: `note ${n}` } })));
    assert.ok(answers.every(({ status }) => status === 201));
    const { body } = await ask('GET', '/notes?limit=100', { token: writer });
    assert.equal(new Set((body as { title: string }[]).map(({ title }) => title)).size, 50);
  });
});
