// SPDX-License-Identifier: MIT
/** The pages that ukl writes, in a real browser. */
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BenchResult } from '../../src/bench/bench.js';
import { renderReport } from '../../src/bench/report.js';
import { projectRoot } from '../../src/lib/paths.js';
import { flamegraph } from '../../src/profile/flamegraph.js';
import type { Frame } from '../../src/profile/fold.js';

/** Screenshots are for people to look at. */
const pictures = join(projectRoot, '.ukl/test-logs');

let work: string;
let browser: Browser;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-pages-'));
  await mkdir(pictures, { recursive: true });
  // Root has no sandbox; the pages are our own.
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
});
afterAll(async () => {
  await browser?.close();
  await rm(work, { recursive: true, force: true });
});

/** Opens a page that must say nothing on the console and ask for nothing else. */
async function look(file: string, options: { readonly width: number; readonly scheme: 'light' | 'dark' }, check: (page: Page) => Promise<void>): Promise<void> {
  const context = await browser.newContext({ viewport: { width: options.width, height: 800 }, colorScheme: options.scheme });
  const page = await context.newPage();
  const said: string[] = [];
  page.on('console', (message) => said.push(message.text()));
  page.on('pageerror', (error) => said.push(error.message));
  page.on('request', (request) => {
    if (request.url() !== `file://${file}`) said.push(`asks for ${request.url()}`);
  });
  await page.goto(`file://${file}`);
  await check(page);
  // What is wide scrolls in a box of its own: the page does not.
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(options.width);
  expect(said).toEqual([]);
  await context.close();
}

const SIGHTS = [
  { width: 400, scheme: 'light' },
  { width: 400, scheme: 'dark' },
  { width: 1200, scheme: 'light' },
  { width: 1200, scheme: 'dark' },
] as const;

describe('the report of ukl bench', () => {
  const result = JSON.parse(readFileSync(join(projectRoot, 'docs/results/core.json'), 'utf8')) as BenchResult;

  test.each(SIGHTS)('at %j', async (sight) => {
    const file = join(work, 'bench.html');
    await writeFile(file, renderReport(result));
    await look(file, sight, async (page) => {
      expect(await page.locator('section').count()).toBe(result.suites.length);
      expect(await page.locator('table').count()).toBe(result.suites.length);
      expect(await page.locator('svg circle').count()).toBeGreaterThan(result.suites.length);
      expect(JSON.parse((await page.locator('#data').textContent()) ?? '')).toEqual(result);
      // Text stands out from the paper in both schemes.
      const [text, paper] = (await page.evaluate('[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]')) as string[];
      const light = (colour = ''): number => [...colour.matchAll(/\d+/g)].reduce((sum, [digits]) => sum + Number(digits), 0);
      expect(Math.abs(light(text) - light(paper))).toBeGreaterThan(400);
      await page.screenshot({ path: join(pictures, `report-${sight.width}-${sight.scheme}.png`), fullPage: true });
    });
  });

  test('in print, on one width of paper', async () => {
    const file = join(work, 'print.html');
    await writeFile(file, renderReport(result));
    const page = await browser.newPage();
    await page.goto(`file://${file}`);
    const paper = await page.pdf({ format: 'A4', path: join(pictures, 'report.pdf') });
    expect(paper.subarray(0, 5).toString()).toBe('%PDF-');
    await page.close();
  });
});

describe('the flame graph of ukl profile', () => {
  const leaf = (name: string, object: string, value: number, children: Frame[] = []): Frame => ({ name, object, value, children });
  const tree = leaf('guest', 'guest', 1000, [
    leaf('main', 'app', 900, [leaf('write', 'libc.so.6', 600, [leaf('ksys_write</script>', 'kernel', 500)]), leaf('work', 'app', 200)]),
    leaf('asm_common_interrupt', 'kernel', 100),
  ]);

  test.each(SIGHTS)('at %j', async (sight) => {
    const file = join(work, 'profile.html');
    const functions = [{ name: 'ksys_write</script>', object: 'kernel', self: 500, calls: 5 }];
    await writeFile(
      file,
      await flamegraph({
        format: 1,
        made: '2026-01-02',
        target: 'app',
        kernel: { flavour: 'ukl', version: '6.12' },
        ring: 0,
        load: 'wrk <x>',
        total: 1000,
        end: undefined,
        tree,
        functions,
      }),
    );
    await look(file, sight, async (page) => {
      const frames = page.locator('#graph svg g.frame');
      expect(await frames.count()).toBe(6);
      const box = await frames.filter({ hasText: 'main' }).first().boundingBox();
      await frames.filter({ hasText: /^work/ }).first().hover();
      expect(await page.locator('#details').textContent()).toBe('work (app): 200 instructions, 20.00 %');
      await frames
        .filter({ hasText: /^write/ })
        .first()
        .click();
      // The library moves frames on a later tick.
      const width = async (text: RegExp): Promise<number> => (await frames.filter({ hasText: text }).first().boundingBox())?.width ?? 0;
      await expect.poll(() => width(/^write/)).toBeGreaterThan(0.95 * sight.width - 40);
      await page.locator('#whole').click();
      await expect.poll(() => width(/^main/)).toBeCloseTo(box?.width ?? 0, -1);
      const colour = (): Promise<string | null> => frames.filter({ hasText: 'ksys' }).locator('rect').getAttribute('fill');
      const before = await colour();
      await page.locator('#find').fill('ksys');
      await expect.poll(colour).not.toBe(before);
      await page.screenshot({ path: join(pictures, `profile-${sight.width}-${sight.scheme}.png`), fullPage: true });
    });
  });
});
