// SPDX-License-Identifier: MIT
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { discover } from '../../src/functions/discover.js';
import { Metrics } from '../../src/functions/metrics.js';
import { Router } from '../../src/functions/router.js';
import { serveFunctions } from '../../src/functions/serve.js';

describe('routes', () => {
  const route = (name: string, path: string, host?: string): { name: string; path: string; host: string | undefined } => ({ name, path, host });
  const router = new Router([
    route('root', '/'),
    route('api', '/api'),
    route('v2', '/api/v2/'),
    route('own', '/api', 'Own.example'),
    route('other', '/x', 'other.example'),
  ]);
  test.each([
    ['localhost', '/', 'root'],
    ['localhost', '/apix', 'root'],
    ['localhost', '/api', 'api'],
    ['localhost', '/api/', 'api'],
    ['localhost', '/api/v1/x', 'api'],
    ['localhost', '/api/v2', 'v2'],
    ['localhost', '/api/v2/x', 'v2'],
    ['own.example:8080', '/api/v2', 'own'],
    ['own.example', '/other', 'root'],
    [undefined, '/api', 'api'],
    ['localhost', '//', 'root'],
  ])('%s%s leads to %s', (host, path, name) => expect(router.find(host, path)?.name).toBe(name));
  test('that nobody has lead nowhere', () => expect(new Router([route('api', '/api')]).find('localhost', '/other')).toBeUndefined());
  test('of one path and host are refused', () => {
    expect(() => new Router([route('a', '/x'), route('b', '/x/')])).toThrow('a and b have the same path: /x/');
  });
});

test('numbers in the format of Prometheus', () => {
  const metrics = new Metrics();
  metrics.requests.at({ function: 'a"\\\n', code: '200' }).value += 2;
  metrics.seconds.observe({ function: 'a' }, 0.02);
  metrics.seconds.observe({ function: 'a' }, 60);
  const lines = metrics.text().split('\n');
  expect(lines).toContain('ukl_requests_total{function="a\\"\\\\\\n",code="200"} 2');
  expect(lines).toContain('ukl_request_seconds_bucket{function="a",le="0.01"} 0');
  expect(lines).toContain('ukl_request_seconds_bucket{function="a",le="0.025"} 1');
  expect(lines).toContain('ukl_request_seconds_bucket{function="a",le="30"} 1');
  expect(lines).toContain('ukl_request_seconds_bucket{function="a",le="+Inf"} 2');
  expect(lines).toContain('ukl_request_seconds_count{function="a"} 2');
  expect(lines.filter((line) => line.startsWith('# TYPE ukl_request_seconds '))).toEqual(['# TYPE ukl_request_seconds histogram']);
});

describe('functions in a directory', () => {
  let work: string;
  const file = async (name: string, text: string): Promise<string> => {
    await mkdir(join(work, name, '..'), { recursive: true });
    await writeFile(join(work, name), text);
    return join(work, name);
  };
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'ukl-functions-'));
    await file(
      'a.function.ts',
      `import fs, { readFileSync } from 'node:fs';
      import { defineFunction } from 'ukl';
      import { Pool } from 'no-such-package';
      import * as other from './other.ts';
      const pool = new Pool({ url: process.env.URL, text: readFileSync('/nothing', 'utf8').trim(), x: fs.statSync('/x').size + other.count });
      class Thing extends other.Base {}
      export default defineFunction({ timeout: '1.5s', path: '/other', cron: '* * * * *' }, async () => new Response(String(pool.query(Thing))));`,
    );
    await file('functions/b.function.mjs', `import { defineFunction } from 'ukl'; export default defineFunction({}, () => new Response());`);
    await file('c/ukl.config.json', JSON.stringify({ name: 'see', sources: ['c.c'], memory: '64M', ports: ['0:80'], function: { idle: 5 } }));
    await file('functions/f.function.c', '');
    await file('functions/g/ukl.config.json', JSON.stringify({ sources: ['g.function.c'], memory: '64M', function: { timeout: 2 } }));
    await file('d/ukl.config.json', JSON.stringify({ sources: ['d.c'] }));
    await file('node_modules/e.function.ts', 'export default 1;');
  });
  afterAll(() => rm(work, { recursive: true, force: true }));

  test('are found with their options, which are read without what they import', async () => {
    const found = await discover([work]);
    expect(found.map(({ name, port, options }) => [name, port, options.timeout, options.idle, options.path, options.memory])).toEqual([
      ['a', 8080, 1500, 60_000, '/other', '256M'],
      ['see', 80, 30_000, 5000, undefined, '64M'],
      ['b', 8080, 30_000, 60_000, undefined, '256M'],
      ['f', 8080, 30_000, 60_000, undefined, '96M'],
      ['g', 8080, 2000, 60_000, undefined, '64M'],
    ]);
  });

  test.each([
    ['nothing.function.ts', 'export const x = 1;', /has no function/],
    ['odd.function.ts', `import { defineFunction } from 'ukl'; export default defineFunction({ memorry: '1G' }, () => 1);`, /has options that are none/],
    ['time.function.ts', `import { defineFunction } from 'ukl'; export default defineFunction({ timeout: '5 hours' }, () => 1);`, /has options that are none/],
    ['throws.function.ts', `throw new Error('at once');`, /could not read the options of .*: at once/],
    ['loops.function.ts', 'for (;;);', /could not read the options of .*timed out/],
    ['syntax.function.ts', 'export default (', /could not read the options/],
  ])('%s is refused', async (name, text, message) => {
    const path = await file(`refused/${name}`, text);
    await expect(discover([path])).rejects.toThrow(message);
  });

  test.each([
    [['/no/such/place'], 'does not exist'],
    [['package.json'], 'is no function'],
    [['LICENSES'], 'there is no function in'],
  ])('%j is refused', async (paths, message) => {
    await expect(discover(paths)).rejects.toThrow(message);
  });

  test('two of one name are refused, and a secret that nobody gave, and a time that is none', async () => {
    const again = await file('again/a.function.ts', `import { defineFunction } from 'ukl'; export default defineFunction({ secrets: ['KEY'] }, () => 1);`);
    await expect(discover([work, again])).rejects.toThrow('two functions are called a');
    await expect(serveFunctions(await discover([again]), { lazy: true })).rejects.toThrow('the function a needs the secret KEY');
    const timed = await file('again/t.function.ts', `import { defineFunction } from 'ukl'; export default defineFunction({ cron: 'soon' }, () => 1);`);
    await expect(serveFunctions(await discover([timed]), { lazy: true })).rejects.toThrow("t: 'soon' is no time of cron's");
  });
});
