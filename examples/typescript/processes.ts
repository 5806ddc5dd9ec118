// SPDX-License-Identifier: MIT
/** fork and exec inside a unikernel: a child with a channel, one with pipes, and one that is killed. */
import { execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';

if (process.argv[2] === 'child') {
  process.once('message', (message) => {
    process.send?.({ got: message, pid: process.pid !== process.ppid });
    process.disconnect();
  });
} else {
  const child = fork(new URL(import.meta.url), ['child']);
  child.send({ hello: 'child' });
  const [answer] = (await once(child, 'message')) as [unknown];
  console.log('fork', JSON.stringify(answer));

  const text = execFileSync(process.execPath, ['-p', '6 * 7'], { encoding: 'utf8' });
  console.log('exec', text.trim());

  const sleeper = spawn(process.execPath, ['-e', 'console.log("up"); setInterval(() => {}, 1000)']);
  await once(sleeper.stdout, 'data');
  sleeper.kill('SIGKILL');
  const [code, signal] = (await once(sleeper, 'exit')) as [number | null, string | null];
  console.log('kill', code, signal);
}
