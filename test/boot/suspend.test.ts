// SPDX-License-Identifier: MIT
/** A tracer that comes and goes while a server is under load: calls change their way each time, and no request is lost. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { httpAnswer, Load } from '../../src/bench/load.js';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { build } from '../../src/sdk/index.js';
import { startGuest, ukl } from './harness.js';

const TIMES = 3;
const QUESTION = { question: 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', answer: httpAnswer };

const SCRIPT = `/server &
server=$!
until grep -q ':0050 ' /proc/net/tcp; do :; done
echo ready
for i in ${Array.from({ length: TIMES }, (_, index) => index).join(' ')}; do
  timeout -s INT 1 strace -o /tmp/trace -p $server 2>/dev/null
  grep -q 'write(\\|send' /tmp/trace && echo traced
  timeout 1 tail -f /dev/null
done
kill $server
wait $server
echo "ended $?"
`;

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-suspend-'));
  await writeFile(join(work, 'script'), SCRIPT);
});
afterAll(() => rm(work, { recursive: true, force: true }));

test.each(['http', 'upcall'] as const)('a tracer comes and goes while examples/%s serves', async (name) => {
  const server = join(work, name);
  await exec(ukl, ['cc', '--', '-O2', '-static', '-o', server, join(projectRoot, 'examples', name, 'http.c')]);
  const image = join(work, `${name}.img`);
  await build(
    { name, program: '/bin/bash', args: ['/script'], ring: 3, express: true, shortcuts: name === 'upcall' ? ['upcall'] : [] },
    {
      out: image,
      container: 'elf',
      ring0: ['/server'],
      files: [`${server}:/server`, `${join(work, 'script')}:/script`, ...['grep', 'strace', 'timeout', 'tail'].map((one) => `/usr/bin/${one}`)],
    },
  );
  await using guest = await startGuest(image, { accel: 'tcg', ports: ['0:80'] });
  await guest.stdout.until(/ready/);
  using load = await Load.connect(guest.port(80), QUESTION, 4);
  // Each answer is awaited: a request that was lost would stop its connection.
  while (guest.stdout.text().split('traced').length - 1 < TIMES) await load.run(50);
  const { end } = await guest.result;
  expect(end).toEqual({ kind: 'exit', status: 0 });
  expect(guest.stdout.text()).toBe(`ready\n${'traced\n'.repeat(TIMES)}ended 143\n`);
});
