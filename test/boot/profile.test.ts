// SPDX-License-Identifier: MIT
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import type { Frame } from '../../src/profile/fold.js';
import { profile } from '../../src/profile/profile.js';
import { host, ukl } from './harness.js';

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-profile-test-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

/** How often work() goes round is written in its registers: nothing else is executed. */
const COUNTED = `
#include <setjmp.h>
#include <unistd.h>
static jmp_buf back;
__attribute__((noinline)) void work(long n) { __asm__ volatile("1: dec %0; jnz 1b" : "+r"(n)); }
__attribute__((noinline)) void leave(void) { longjmp(back, 1); }
__attribute__((noinline)) void deep(int n) { if (n) deep(n - 1); else leave(); __asm__ volatile(""); }
int main(void)
{
	int fds[2];
	char c = 'x';

	for (int i = 0; i < 100; i++)
		work(1000);
	if (!setjmp(back))
		deep(20);
	work(500000);
	if (pipe(fds))
		return 1;
	for (int i = 0; i < 1000; i++)
		if (write(fds[1], &c, 1) != 1 || read(fds[0], &c, 1) != 1)
			return 1;
	return 0;
}
`;

/** What all frames at the end of a path below a frame have together; the path may have others in between. */
function below(frame: Frame, path: readonly string[]): number {
  const [first, ...rest] = path;
  if (first === undefined) return frame.value;
  return frame.children.reduce((sum, child) => sum + below(child, child.name === first ? rest : path), 0);
}

test.each([
  ['ring 0', { ring: 0, libc: 'ukl' }],
  ['ring 3', { ring: 3, libc: 'ukl' }],
  ['stock kernel', { kernel: 'stock' }],
] as const)('ukl profile counts each instruction where it belongs: %s', async (_, options) => {
  const source = join(work, 'counted.c');
  await writeFile(source, COUNTED);
  const { functions, tree, total } = await profile(source, {
    ...options,
    container: 'bzImage',
    stdout: new PassThrough().resume(),
    stderr: new PassThrough().resume(),
  });
  const worked = functions.find(({ name }) => name === 'work');
  expect(worked?.calls).toBe(101);
  // Two instructions a round, and some around it; a block that was interrupted is counted twice.
  expect(worked?.self).toBeGreaterThanOrEqual(2 * 600_000);
  expect(worked?.self).toBeLessThan(2 * 600_000 + 101 * 4 + 1000);
  // What longjmp() left is nobody's caller any more.
  expect(below(tree, ['main', 'work'])).toBe(worked?.self);
  expect(below(tree, ['main', 'deep', 'leave'])).toBeGreaterThan(0);
  expect(below(tree, ['leave', 'work'])).toBe(0);
  // What unpacks the kernel runs at addresses that are a program's later.
  expect(functions.find(({ object }) => object === 'loader')?.self).toBeGreaterThan(10_000_000);
  const inPipe = functions.find(({ name }) => name === 'pipe_write' || name === 'anon_pipe_write');
  expect(inPipe?.calls).toBeGreaterThanOrEqual(1000);
  expect(below(tree, ['main', 'write', inPipe?.name ?? ''])).toBeGreaterThan(100_000);
  const sum = functions.reduce((all, { self }) => all + self, 0);
  expect(sum).toBe(total);
});

test('ukl profile shows a server under load, and keeps it as a page', async () => {
  const report = join(work, 'profile.html');
  const { code, stdout, stderr } = await host(
    ukl,
    [
      'profile',
      join(projectRoot, 'examples/redis'),
      '-p',
      '0:6379',
      '--load',
      'redis-benchmark -p $PORT -t get -c 4 -n 2000 -q',
      '--count',
      '2000',
      '--report',
      report,
    ],
    { NO_COLOR: '1' },
  );
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/instructions, [\d,]+ a request: [\d.]+ % in the kernel, [\d.]+ % in programs/);
  expect(stdout).toMatch(/ % +[\d,]+ +1 +tcp_sendmsg_locked\n/);
  expect(stdout).toMatch(/ % +[\d,]+ +1 +processCommand \(redis-server\)\n/);
  const page = await readFile(report, 'utf8');
  const { tree } = JSON.parse(/<script type="application\/json" id="data">(.*)<\/script>/.exec(page)?.[1] ?? '{}') as { tree: Frame };
  expect(below(tree, ['main', 'aeMain', 'write', 'tcp_sendmsg_locked'])).toBeGreaterThan(100_000);
});

test('ukl profile: a load that fails, and a program that ends before it listens, are told', async () => {
  const failed = await host(ukl, ['profile', join(projectRoot, 'examples/redis'), '-p', '0:6379', '--load', 'exit 7'], { NO_COLOR: '1' });
  expect(failed.code).toBe(1);
  expect(failed.stderr).toMatch(/the load ended with status 7: exit 7/);
  const early = await host(ukl, ['profile', join(projectRoot, 'examples/count'), '-p', '0:80', '--load', 'true'], { NO_COLOR: '1' });
  expect(early.stderr).toMatch(/the guest ended before anything listened on port 80/);
  expect(early.code).toBe(1);
});
