// SPDX-License-Identifier: MIT
/** Guests that go on without the tool, as a user has them: by the command line, in a state directory of the test's. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bring, exec, processes } from '../../src/detached/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import type { Session } from '../../src/run/session.js';
import { type CommandResult, host, Sink, ukl } from './harness.js';

let state: string;
let image: string;
const cli = (...args: string[]): Promise<CommandResult> => host(ukl, args, { NO_COLOR: '1' });

interface Status {
  readonly state: string;
  readonly pid: number;
  readonly vmmPid: number;
  readonly restarts: number;
  readonly health?: string;
  readonly exitCode?: number;
  readonly ports: readonly { readonly host: number }[];
}

async function status(name: string): Promise<Status> {
  const { stdout } = await cli('inspect', name);
  return (JSON.parse(stdout) as { guest: { status: Status } }).guest.status;
}

/** A command whose output is awaited, ended by the test. */
function follow(...args: string[]): { readonly out: Sink; readonly closed: Promise<number | null>; end(signal: NodeJS.Signals): Promise<number | null> } {
  const child = spawn(ukl, args, { env: { ...process.env, XDG_STATE_HOME: state }, stdio: ['ignore', 'pipe', 'pipe'] });
  const out = new Sink();
  child.stdout.pipe(out, { end: false });
  child.stderr.pipe(out, { end: false });
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  child.stdout.once('end', () => out.over('the command ended'));
  return {
    out,
    closed,
    end: (signal) => {
      child.kill(signal);
      return closed;
    },
  };
}

const alive = async (pid: number): Promise<boolean> => (await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => 'Z')).includes(') Z') === false;

/** A server that says what it hears: on SIGHUP as well, until SIGTERM. */
const PROGRAM = `
import { createServer } from 'node:http';
process.on('SIGHUP', () => console.log('reloaded'));
process.on('SIGTERM', () => { console.log('terminated'); process.exit(7); });
process.stdin.on('data', (chunk) => console.log('heard ' + String(chunk).trim()));
createServer((request, response) => {
  if (request.url === '/crash') process.exit(3);
  console.error('asked for ' + request.url);
  response.end('hello\\n');
}).listen(8080, () => console.log('listening'));
`;

beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), 'ukl-state-'));
  process.env.XDG_STATE_HOME = state;
  await writeFile(join(state, 'server.mjs'), PROGRAM);
  image = join(state, 'server.image');
  const built = await cli('build', join(state, 'server.mjs'), '--container', 'elf', '-o', image);
  expect(built.code, built.stderr).toBe(0);
});
afterAll(async () => {
  const { stdout } = await cli('ps', '-a', '-q');
  for (const name of stdout.split('\n').filter(Boolean)) await cli('rm', '-f', name);
  await rm(state, { recursive: true });
});

describe('a guest that runs detached', () => {
  test('is started, listed, asked, and goes on without the tool', async () => {
    const started = await cli('run', '-d', '-i', '--name', 'web', '--health', 'http:8080/', '--health-interval', '0.2', image, '-p', '0:8080');
    expect([started.code, started.stdout]).toEqual([0, 'web\n']);
    expect((await cli('ps')).stdout).toMatch(/^web .* Up \d+ second/m);
    const log = follow('logs', '-f', 'web');
    await log.out.until(/listening/);
    const events = follow('events', '--past', '-f');
    const [port] = (await status('web')).ports;
    expect(await (await fetch(`http://127.0.0.1:${port?.host}/x`)).text()).toBe('hello\n');
    await log.out.until(/asked for \/x/);
    expect((await cli('port', 'web')).stdout).toBe(`127.0.0.1:${port?.host}->8080/tcp\n`);
    await cli('kill', '-s', 'HUP', 'web');
    await log.out.until(/reloaded/);
    await cli('pause', 'web');
    await events.out.until(/web paused/);
    expect((await cli('ps')).stdout).toMatch(/\(paused\)/);
    await cli('unpause', 'web');
    await events.out.until(/web paused[^]*web running/);
    const attached = spawn(ukl, ['attach', 'web'], { env: { ...process.env, XDG_STATE_HOME: state }, stdio: ['pipe', 'ignore', 'ignore'] });
    attached.stdin.write('good day\n');
    await log.out.until(/heard good day/);
    attached.kill('SIGINT');
    await events.end('SIGINT');
    await log.end('SIGINT');
    expect((await status('web')).state).toBe('running');
    expect((await cli('stats', 'web', '--json')).stdout).toMatch(/"privateBytes": \d{8}/);
    const numbers = (await cli('metrics')).stdout;
    expect(numbers).toMatch(/^ukl_guest_up\{guest="web"\} 1$/m);
    expect(numbers).toMatch(/^ukl_guest_network_receive_bytes_total\{guest="web"\} [1-9]\d+$/m);
    const names = [...(await cli('metrics', '--dashboard')).stdout.matchAll(/\bukl_guest_\w+/g)].map(([name]) => name);
    expect(names.length).toBeGreaterThan(5);
    for (const name of names) expect(numbers).toContain(`# TYPE ${name} `);
  });

  test('runs other programs beside its own, in ring 3, with streams and a status of their own', async () => {
    const shell = await cli('exec', '-e', 'WHO=me', 'web', '--', '/bin/sh', '-c', 'echo out $WHO; echo err >&2; cat /proc/self/comm; exit 5');
    expect([shell.code, shell.stdout, shell.stderr]).toEqual([5, 'out me\ncat\n', expect.stringContaining('err\n')]);
    expect((await cli('exec', 'web', '--', 'no-such-program')).code).toBe(127);
    const sockets = await cli('exec', 'web', '--', '/bin/sh', '-c', 'ss -tln');
    expect(sockets.stdout).toMatch(/LISTEN .*:8080/);
    expect((await cli('top', 'web')).stdout).toMatch(/ node .*server\.mjs\n$/);
  });

  test('goes on after clients that leave at once, and one that reads late', async () => {
    const open = (...argv: string[]): Promise<Session> => exec('web', { argv });
    await bring('web', ['head']);
    const asked = await Promise.allSettled(Array.from({ length: 30 }, () => open('/bin/sh', '-c', 'read line')));
    const sessions = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    // As many as there are ports, of which the last session's may still be on its way out.
    expect([12, 13]).toContain(sessions.length);
    await Promise.all(sessions.map((session) => session[Symbol.asyncDispose]()));
    await expect.poll(async () => (await processes('web', false)).filter(({ command }) => command.includes('read line')), { timeout: 60_000 }).toEqual([]);
    await using late = await open('head', '-c', '8000000', '/dev/zero');
    await using other = await open('/bin/sh', '-c', 'exit 4');
    expect(await other.end).toEqual({ exitCode: 4 });
    expect((await buffer(late.stdout)).length).toBe(8_000_000);
    expect(await late.end).toEqual({ exitCode: 0 });
    // The shell's parent is the session, as the kernel may kill it for want of memory.
    await using killed = await open('/bin/sh', '-c', 'kill -9 $PPID; read line');
    await expect(killed.end).rejects.toMatchObject({ code: 'UKL_VMM' });
  });

  test('gives files and takes them', async () => {
    const there = join(state, 'note.txt');
    await writeFile(there, 'kept\n');
    expect((await cli('cp', there, 'web:/tmp/renamed')).code).toBe(0);
    expect((await cli('exec', 'web', '--', 'cat', '/tmp/renamed')).stdout).toBe('kept\n');
    expect((await cli('cp', 'web:/tmp/renamed', join(state, 'back'))).code).toBe(0);
    expect(await readFile(join(state, 'back'), 'utf8')).toBe('kept\n');
    await cli('cp', 'web:/etc', join(state, 'etc'));
    expect(await readdir(join(state, 'etc'))).toContain('hosts');
    // Says that it has no bytes.
    expect((await cli('cp', 'web:/proc/cpuinfo', state)).code).toBe(0);
    expect(await readFile(join(state, 'cpuinfo'), 'utf8')).toMatch(/^processor\t: 0\n/);
    const missing = await cli('cp', 'web:/no/such', state);
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('/no/such: No such file or directory')]);
  });

  test('has one name, and two guests cannot', async () => {
    const again = await cli('run', '-d', '--name', 'web', image);
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("there is a guest 'web' already")]);
    expect((await cli('logs', 'wep')).stderr).toContain("did you mean 'web'");
    const both = await Promise.all([cli('run', '-d', '--name', 'twin', image), cli('run', '-d', '--name', 'twin', image)]);
    expect(both.map(({ code }) => code).sort()).toEqual([0, 2]);
    await cli('rm', '-f', 'twin');
  });

  test('is asked to end, keeps its status and its log, and starts again', async () => {
    expect((await cli('stop', 'web')).code).toBe(0);
    expect((await cli('ps')).stdout).not.toContain('web');
    expect((await cli('ps', '-a')).stdout).toMatch(/^web .*Exited \(7\)/m);
    expect((await cli('logs', '-n', '1', 'web')).stdout).toBe('terminated\n');
    const waited = await cli('wait', 'web');
    expect([waited.code, waited.stdout]).toEqual([7, '7\n']);
    expect((await cli('exec', 'web', '--', 'true')).stderr).toContain("'web' does not run");
    const starts = await Promise.all([1, 2, 3].map(() => cli('start', 'web')));
    expect(starts.map(({ code }) => code).sort()).toEqual([0, 2, 2]);
    expect((await status('web')).state).toBe('running');
  });

  test('comes back with this machine, unless a user has stopped it', async () => {
    expect((await cli('run', '-d', '--name', 'back', '--restart', 'unless-stopped', image, '-p', '0:8080')).code).toBe(0);
    expect((await cli('start', '--at-boot')).stdout).toBe('');
    // With a machine that loses its power, and with one that is shut down.
    process.kill((await status('back')).pid, 'SIGKILL');
    expect((await cli('start', '--at-boot')).stdout).toBe('back\n');
    expect((await cli('stop', '--at-shutdown')).stdout).toBe('back\nweb\n');
    expect((await cli('start', '--at-boot')).stdout).toBe('back\n');
    expect((await status('back')).state).toBe('running');
    await cli('stop', 'back');
    expect((await cli('start', '--at-boot')).stdout).toBe('');
    expect((await cli('start', 'back', '--at-boot')).stderr).toContain('--at-boot says by itself which guests');
    expect((await cli('stop')).stderr).toContain('no guest is named');
    expect((await cli('rm', 'back')).code).toBe(0);
    await cli('start', 'web');
  });

  test('leaves no machine behind when its supervisor is killed, and does not look as if it ran', async () => {
    const { pid, vmmPid } = await status('web');
    process.kill(pid, 'SIGKILL');
    await expect.poll(() => alive(vmmPid), { timeout: 10_000 }).toBe(false);
    expect((await cli('ps')).stdout).not.toContain('web');
    expect((await cli('ps', '-a')).stdout).toMatch(/^web .*Lost: its supervisor was killed/m);
    expect((await cli('rm', 'web')).code).toBe(0);
  });

  test('is started again when it ends, as often as its policy says', async () => {
    await cli('run', '-d', '--name', 'crashing', '--restart', 'on-failure:1', image, '-p', '0:8080');
    const log = follow('logs', '-f', 'crashing');
    for (const times of [1, 2]) {
      await log.out.until(new RegExp(`(listening[^]*){${times}}`));
      const [port] = (await status('crashing')).ports;
      await expect(fetch(`http://127.0.0.1:${port?.host}/crash`)).rejects.toThrow();
    }
    // Its end is that of the log.
    expect(await log.closed).toBe(0);
    expect(await status('crashing')).toMatchObject({ state: 'exited', exitCode: 3, restarts: 1 });
  });
});

test('what cannot be started leaves nothing', async () => {
  const refused = await cli('run', '-d', '--name', 'big', image, '-M', '8M');
  expect([refused.code, refused.stderr]).toEqual([125, expect.stringContaining('UKL_MEMORY')]);
  expect((await cli('ps', '-a')).stdout).not.toContain('big');
  expect((await cli('run', '-d', '--restart', 'never', image)).code).toBe(2);
  expect((await cli('run', '--name', 'x', image)).stderr).toContain('--name is for a guest that runs by itself');
  expect((await cli('run', '-d', '--name', 'a/b', image)).stderr).toContain("'a/b' is no name of a guest");
});

test('several guests on one network know each other by name, in the order of what they need, and go together', async () => {
  const project = join(state, 'shop');
  await mkdir(project);
  const services = (port: string): string => `
services:
  client: { target: /bin/sleep, args: ['1000'], dependsOn: [server], stopSignal: KILL }
  server:
    target: ${join(projectRoot, 'examples/http/http.c')}
    ports: ['0:${port}']
    health: { test: 'tcp:80', interval: 0.2 }
`;
  await writeFile(join(project, 'ukl.compose.yaml'), services('80'));
  // Two at once do it once.
  const both = await Promise.all([1, 2].map(() => cli('up', '-d', '-f', project)));
  for (const { code, stderr } of both) expect(code, stderr).toBe(0);
  expect(both.map(({ stdout }) => /shop\.server +(\w+)/.exec(stdout)?.[1]).sort()).toEqual(['runs', 'started']);
  expect((await status('shop.server')).health).toBe('healthy');
  const ask = "exec 3<>/dev/tcp/server/80; printf 'GET / HTTP/1.1\\r\\nHost: server\\r\\n\\r\\n' >&3; head -n 1 <&3";
  const asked = await cli('exec', 'shop.client', '--', '/bin/bash', '-c', ask);
  expect(asked.stdout, asked.stderr).toMatch(/^HTTP\/1.1 200/);
  expect((await cli('up', '-d', '-f', project)).stdout).toMatch(/shop\.server +runs\nclient +shop\.client +runs/);
  await writeFile(join(project, 'ukl.compose.yaml'), services('81'));
  expect((await cli('up', '-d', '-f', project)).stdout).toMatch(/shop\.server +recreated\nclient +shop\.client +runs/);
  // The client's frames find the new one.
  const again = await cli('exec', 'shop.client', '--', '/bin/bash', '-c', ask);
  expect(again.stdout, again.stderr).toMatch(/^HTTP\/1.1 200/);
  // They find each other by another switch when theirs is killed.
  const { stdout: pid } = await host('pgrep', ['-f', `switch.js ${state}/ukl/networks/shop.socket`]);
  process.kill(Number(pid), 'SIGKILL');
  const later = await cli('exec', 'shop.client', '--', '/bin/bash', '-c', ask);
  expect(later.stdout, later.stderr).toMatch(/^HTTP\/1.1 200/);
  expect((await cli('down', '-f', project)).stdout).toBe('shop.client\nshop.server\n');
  expect((await cli('ps', '-a')).stdout).not.toContain('shop');
});

test('ring 3 only: a session cannot get what its guest was given up', async () => {
  const { code } = await cli('run', '-d', '--rm', '--name', 'sleeper', '/bin/sleep', '--', '1000');
  expect(code).toBe(0);
  // CAP_SYS_RAWIO, bit 17, opens ring 0 (docs/decisions/0002).
  const { stdout } = await cli('exec', 'sleeper', '--', '/bin/sh', '-c', 'grep CapBnd /proc/self/status');
  const bounding = BigInt(`0x${/CapBnd:\s+([0-9a-f]+)/.exec(stdout)?.[1] ?? 'ffffffffffffffff'}`);
  expect((bounding >> 17n) & 1n).toBe(0n);
  await cli('stop', '-t', '1', 'sleeper');
  expect((await cli('ps', '-a')).stdout).not.toContain('sleeper');
});
