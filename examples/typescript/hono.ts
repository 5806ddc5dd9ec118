// SPDX-License-Identifier: MIT
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { etag } from 'hono/etag';

const app = new Hono();
app.use(etag());
app.get('/', (context) => context.text('Hello from Hono'));
app.get('/json/:id', (context) => context.json({ id: Number(context.req.param('id')) }));

serve({ fetch: app.fetch, port: 8080 }, () => console.log('listening'));
