// SPDX-License-Identifier: MIT
/**
 * Runs a program in the guest of `ukl dev` and changes it for each new version
 * that the host sends: PUT on port 1, a JSON object of paths and contents
 * (base64), with the token. One process is always started ahead, so that a new
 * version does not wait for Node.js.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';

const PORT = 1;
/** How long a program may take to end in good order. */
const GRACE_MS = 1000;

const token = process.env.UKL_DEV_TOKEN;
delete process.env.UKL_DEV_TOKEN;
const [script = '', ...args] = process.argv.slice(2);

const prepare = (): ChildProcess => fork('/.ukl/standby.cjs', [script, ...args]);
const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

let standby = prepare();
let current: ChildProcess | undefined;
let ending = false;

function launch(): void {
  const child = standby;
  current = child;
  child.send('go');
  child.once('exit', (code, signal) => {
    if (ending) process.exit(code ?? 1);
    if (child === current) process.stderr.write(`ukl dev: the program ended with ${signal ?? `status ${code}`}; waiting for a change\n`);
  });
  standby = prepare();
}

async function stop(): Promise<void> {
  const child = current;
  current = undefined;
  if (child === undefined || hasEnded(child)) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = new AbortController();
  await Promise.race([ended, setTimeout(GRACE_MS, undefined, { signal: timer.signal }).then(() => child.kill('SIGKILL'))]);
  timer.abort();
  await ended;
}

/** One version after the other, however fast they come. */
// biome-ignore lint/correctness/noUnusedVariables: each change waits for the one before
let last: Promise<void> = Promise.resolve();
async function change(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, Buffer.from(content, 'base64'));
  }
  await stop();
  launch();
}

createServer((request, response) => {
  if (request.method !== 'PUT' || request.headers.authorization !== `Bearer ${token}`) {
    response.writeHead(403).end();
    return;
  }
  last = text(request)
    .then((body) => change(JSON.parse(body) as Record<string, string>))
    .then(
      () => void response.writeHead(204).end(),
      (error: unknown) => void response.writeHead(500).end(String(error)),
    );
}).listen(PORT);

// An interrupt from the keyboard has reached the program already.
process.on('SIGINT', () => {
  ending = true;
  if (current === undefined || hasEnded(current)) process.exit(130);
});
for (const name of ['SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    ending = true;
    if (current === undefined || !current.kill(name)) process.exit(0);
  });
}
launch();
