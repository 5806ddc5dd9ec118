// SPDX-License-Identifier: MIT
/**
 * Debian's strace, gdb and perf, in ring 3, look at a ring 0 process. Who starts
 * them is in ring 3 as well: what may attach to ring 0 is lost on the way into it.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import type { Ring } from '../../src/model/index.js';
import { runGuest } from './harness.js';

// dash is the program to be looked at. Of all VMAs, only those of ring 0 programs have the flag "uk".
const BUSY = `dash -c 'while :; do kill -0 $$; done' &
busy=$!
until [ "$(readlink /proc/$busy/exe)" = /usr/bin/dash ]; do :; done
grep -q '^VmFlags:.* uk' /proc/$busy/smaps && echo ring 0 || echo ring 3
`;

const SCRIPT = `${BUSY}timeout -s INT 3 strace -o /tmp/trace -e trace=kill -p $busy 2>/dev/null
kill $busy
wait $busy
echo "ended $?"
[ "$(grep -c '^kill([0-9]*, 0) *= 0' /tmp/trace)" -gt 5 ] && echo traced
`;

// A breakpoint, two single steps (the second over SYSCALL), and on with the program.
const GDB_SCRIPT = `${BUSY}gdb -nx -batch -p $busy -ex 'break kill' -ex continue -ex 'info registers cs' -ex stepi -ex stepi -ex 'x/i $pc' -ex delete -ex detach 2>&1
kill $busy
wait $busy
echo "ended $?"
`;

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-trace-'));
  await writeFile(join(work, 'script'), SCRIPT);
  await writeFile(join(work, 'gdb-script'), GDB_SCRIPT);
});
afterAll(() => rm(work, { recursive: true, force: true }));

const PROGRAMS = ['dash', 'grep', 'readlink'].map((name) => `/usr/bin/${name}`);
/** The script's shell is in ring 3, the program that it looks at in the given one. */
const inRing = (ring: Ring): { readonly ring: Ring; readonly ring0: readonly string[] } => ({ ring: 3, ring0: ring === 0 ? ['/usr/bin/dash'] : [] });

test.each([0, 3] as const)('strace attaches to a process in ring %s', async (ring) => {
  const result = await runGuest('/bin/bash', {
    ...inRing(ring),
    args: ['/script'],
    files: [`${join(work, 'script')}:/script`, ...PROGRAMS, '/usr/bin/strace', '/usr/bin/timeout'],
  });
  expect(result.stdout, result.stderr).toBe(`ring ${ring}\nended 143\ntraced\n`);
  expect(result.end).toEqual({ kind: 'exit', status: 0 });
});

test.each([0, 3] as const)('gdb stops and steps a process in ring %s', async (ring) => {
  const result = await runGuest('/bin/bash', {
    ...inRing(ring),
    memory: '768M',
    args: ['/script'],
    // gdb has Python inside, which does not start without its encodings.
    files: [`${join(work, 'gdb-script')}:/script`, ...PROGRAMS, '/usr/bin/gdb', '/usr/lib/python3.11/encodings', '/usr/lib/python3.11/codecs.py'],
  });
  expect(result.stdout).toMatch(new RegExp(`^ring ${ring}\n`));
  expect(result.stdout).toMatch(/Breakpoint 1, [\s\S]* in kill \(\)/);
  // What a debugger sees is a ring 3 program, whichever ring it is in.
  expect(result.stdout).toMatch(/^cs +0x33 /m);
  expect(result.stdout).toMatch(/<kill\+7>:\s+cmp/);
  expect(result.stdout).toMatch(/detached\]\nended 143\n$/);
  expect(result.end).toEqual({ kind: 'exit', status: 0 });
});

// The kernel of the example has tracepoints for system calls: `kernelConfig`.
test.each([
  [0, {}],
  [3, { ring: 3 }],
] as const)('perf trace counts the system calls of a program in ring %s', async (ring, options) => {
  const result = await runGuest(join(projectRoot, 'examples/perf-trace'), options);
  expect(result.stdout, result.stderr).toBe(`ring ${ring}\n`);
  expect(result.stderr).toMatch(/^ +getppid +1000 +0 /m);
  expect(result.stderr).toMatch(/^ +write +1 +0 /m);
  expect(result.end).toEqual({ kind: 'exit', status: 0 });
});
