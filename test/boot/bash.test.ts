// SPDX-License-Identifier: MIT
/** bash from the host as the ring 0 program: pipes, sub-shells, jobs, coreutils being exec'ed. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { host, runGuest } from './harness.js';

const SCRIPT = `set -eu
cd /tmp
seq 1 2000 | sort -rn | head -n 3
( exit 7 ) || echo "sub-shell $?"
for i in 1 2 3 4; do ( sleep 0.0$i; echo "job $i" > job.$i ) & done
wait
cat job.*
total=0
while read -r word; do total=$((total + word)); done < <(seq 1 500)
echo "total $total"
echo "$(echo nested "$(echo deeper)")"
mkdir -p a/b && touch a/b/{1..20} && ls a/b | wc -l
trap 'echo trapped' USR1
kill -USR1 $$
printf '%s\\n' {a..e} | tee copy | tr a-z A-Z | paste -sd,
sha256sum copy | cut -c1-16
coproc cat
echo through >&"\${COPROC[1]}"
read -r line <&"\${COPROC[0]}"
echo "$line"
exit 5
`;
const tools = ['seq', 'sort', 'head', 'sleep', 'cat', 'mkdir', 'touch', 'ls', 'wc', 'tee', 'tr', 'paste', 'sha256sum', 'cut'];

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-bash-'));
  await writeFile(join(work, 'script'), SCRIPT);
});
afterAll(() => rm(work, { recursive: true, force: true }));

test.each([0, 3] as const)('a script at ring %s prints what it prints on the host', async (ring) => {
  const here = await host('bash', [join(work, 'script')]);
  const there = await runGuest('/bin/bash', {
    ring,
    cpus: 2,
    status: 5,
    args: ['/script'],
    files: [`${join(work, 'script')}:/script`, ...tools.map((tool) => `/usr/bin/${tool}`)],
  });
  expect(there.stdout, there.stderr).toBe(here.stdout);
  expect(there.stderr).toBe('');
  expect(there.end).toEqual({ kind: 'exit', status: 5 });
});
