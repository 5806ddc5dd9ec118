// SPDX-License-Identifier: MIT
/** `ukl run --gdb`: one debugger for the kernel and the program. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { host, ukl } from './harness.js';

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-gdb-'));
  await writeFile(
    join(work, 'app.c'),
    `#include <unistd.h>
__attribute__((noinline)) int inner(int n) { return getppid() + n; }
__attribute__((noinline)) int outer(int n) { return inner(n) * 2; }
int main(void) { int n = outer(3); return inner(0) + n - 1; }
`,
  );
});
afterAll(() => rm(work, { recursive: true, force: true }));

test('a breakpoint in main(), one in a system call, and a backtrace across both', { timeout: 120_000 }, async () => {
  const guest = spawn(ukl, ['run', join(work, 'app.c'), '--gdb', '--accel', 'tcg', '--timeout', '100'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(guest, 'close');
  let said = '';
  const script = await new Promise<string>((resolve, reject) => {
    guest.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const path = /waiting for gdb: gdb -x (\S+)\n/.exec(said)?.[1];
      if (path !== undefined) resolve(path);
    });
    guest.once('close', () => reject(new Error(said)));
  });
  const commands = [
    'break main',
    'continue',
    'echo \\n[main]\\n',
    'backtrace',
    'break __x64_sys_getppid',
    'continue',
    'echo \\n[kernel]\\n',
    'backtrace',
    'frame function inner',
    'print n',
    'finish',
    'delete',
    // The first instruction of the entry, and each after it, knows where it came from.
    'break *ukl_syscall',
    'continue',
    ...Array.from({ length: 40 }, () => ['echo \\n[entry]\\n', 'backtrace -3', 'stepi']).flat(),
    'delete',
    'detach',
  ];
  const { stdout, stderr } = await host('timeout', ['90', 'gdb', '-q', '-nx', '-batch', '-x', script, ...commands.flatMap((command) => ['-ex', command])]);
  const [, main = '', kernel = '', ...entries] = stdout.split(/\n\[(?:main|kernel|entry)\]\n/);
  expect(main, stderr).toMatch(/^#0 +main \(\) at .*app\.c:4\n/);
  expect(kernel).toMatch(
    /__do_sys_getppid[\s\S]* in getppid \(\)\n[\s\S]* in inner \(n=.*3\) at .*app\.c:2\n[\s\S]* in outer \(n=.*3\) at .*app\.c:3\n[\s\S]* main \(\) at .*app\.c:4\n/,
  );
  expect(kernel).toMatch(/\$1 = 3\n/);
  expect(entries).toHaveLength(40);
  for (const entry of entries) expect(entry).toMatch(/ in inner [\s\S]* in main \(\) at /);
  expect((await ended)[0]).toBe(8);
});
