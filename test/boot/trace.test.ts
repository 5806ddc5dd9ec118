// SPDX-License-Identifier: MIT
/** A ring 3 strace, Debian's own, attaches to a ring 0 process and sees its system calls. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runGuest } from './harness.js';

// The sub-shell is a fork of the ring 0 bash; strace and timeout are exec'ed, in ring 3.
const SCRIPT = `( while :; do kill -0 $$; done ) &
busy=$!
timeout -s INT 3 strace -o /tmp/trace -e trace=kill -p $busy 2>/dev/null
kill $busy
wait $busy
echo "ended $?"
[ "$(grep -c '^kill([0-9]*, 0) *= 0' /tmp/trace)" -gt 5 ] && echo traced
`;

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-trace-'));
  await writeFile(join(work, 'script'), SCRIPT);
});
afterAll(() => rm(work, { recursive: true, force: true }));

test.each([0, 3] as const)('strace attaches to a process in ring %s', async (ring) => {
  const result = await runGuest('/bin/bash', {
    ring,
    args: ['/script'],
    files: [`${join(work, 'script')}:/script`, '/usr/bin/strace', '/usr/bin/timeout', '/usr/bin/grep'],
  });
  expect(result.stdout, result.stderr).toBe('ended 143\ntraced\n');
  expect(result.end).toEqual({ kind: 'exit', status: 0 });
});
