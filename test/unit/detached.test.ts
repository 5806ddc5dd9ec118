// SPDX-License-Identifier: MIT
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { duration, patience } from '../../src/cli/flags.js';
import { comesBack, unit } from '../../src/detached/boot.js';
import { currentStatus, goneFrom } from '../../src/detached/client.js';
import type { GuestSummary } from '../../src/detached/detach.js';
import { eventsFile, eventsOf, logEvent } from '../../src/detached/events.js';
import { programsIn } from '../../src/detached/exec.js';
import { checkHealth } from '../../src/detached/health.js';
import { Journal, journalOf, lastOf } from '../../src/detached/journal.js';
import { leaveGroup, removeGroup } from '../../src/detached/limits.js';
import {
  checkName,
  claim,
  directoryOf,
  type GuestStatus,
  guestsRoot,
  readStatus,
  release,
  socketOf,
  specOf,
  writeSpec,
  writeStatus,
} from '../../src/detached/record.js';
import { parseRestart, Restarter } from '../../src/detached/restart.js';
import { serve } from '../../src/detached/server.js';
import { watchGuest } from '../../src/detached/watch.js';
import { encodeFrame, FRAME_MAX, FrameSplitter, framesOf } from '../../src/guest/frames.js';
import { listen } from '../../src/lib/listen.js';

let work: string;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-detached-'));
  process.env.XDG_STATE_HOME = work;
});
afterEach(async () => {
  delete process.env.XDG_STATE_HOME;
  await rm(work, { recursive: true });
});

describe('frames', () => {
  test('in chunks of any length', () => {
    const frames = [encodeFrame('o', 'hello'), encodeFrame('e'), ...framesOf('i', Buffer.alloc(FRAME_MAX + 1, 7)), encodeFrame('x', 'exit 3')];
    for (const size of [97, 1000, 1_000_000]) {
      const splitter = new FrameSplitter();
      const bytes = Buffer.concat(frames);
      const seen = [];
      for (let at = 0; at < bytes.length; at += size) seen.push(...splitter.push(bytes.subarray(at, at + size)));
      expect(seen.map(({ type, bytes: { length } }) => [type, length])).toEqual([
        ['o', 5],
        ['e', 0],
        ['i', FRAME_MAX],
        ['i', 1],
        ['x', 6],
      ]);
    }
  });

  test('one that is too long is refused before it is there', () => {
    const head = encodeFrame('o', 'x');
    head.writeUInt32LE(FRAME_MAX + 1, 1);
    expect(() => new FrameSplitter().push(head)).toThrow(/a frame of 65537 bytes/);
  });
});

describe('the journal', () => {
  beforeEach(() => claim('web'));
  const file = (): string => join(directoryOf('web'), 'journal');
  const texts = async (reader: ReturnType<typeof journalOf>): Promise<string[]> => (await reader.next()).map(({ stream, text }) => `${stream}: ${text}`);

  test('keeps lines and what has no end yet, in order, for who reads on', async () => {
    using journal = new Journal('web');
    const out = journal.stream('stdout', () => {});
    out.write(Buffer.from('one\ntw'));
    await using reader = journalOf('web');
    expect(await texts(reader)).toEqual(['stdout: one\n', 'stdout: tw']);
    out.write(Buffer.from('o\n'));
    journal.stream('stderr', () => {}).write(Buffer.from([0xc3]));
    expect(await texts(reader)).toEqual(['stdout: o\n']);
    expect(await texts(reader)).toEqual([]);
  });

  test('a character in two chunks is one', async () => {
    using journal = new Journal('web');
    const out = journal.stream('stdout', () => {});
    out.write(Buffer.from('é\n').subarray(0, 1));
    out.write(Buffer.from('é\n').subarray(1));
    await using reader = journalOf('web');
    expect(await texts(reader)).toEqual(['stdout: é\n']);
  });

  test('goes on in another file, of which a reader misses nothing', async () => {
    using journal = new Journal('web');
    const out = journal.stream('stdout', () => {});
    await using reader = journalOf('web');
    let seen = 0;
    const line = Buffer.from(`${'x'.repeat(99_999)}\n`);
    for (let number = 0; number < 250; number++) {
      out.write(line);
      if (number % 10 === 0) seen += (await reader.next()).length;
    }
    seen += (await reader.next()).length;
    expect(seen).toBe(250);
    expect((await stat(file())).size).toBeLessThanOrEqual(10 * 1024 * 1024 + 101_000);
    // Of what came before the last two files nothing is left.
    await using late = journalOf('web');
    expect((await late.next()).length).toBeLessThan(250);
  });

  test('a line that was cut off is none, and the next one begins behind it', async () => {
    const print = (text: string): void => {
      using journal = new Journal('web');
      journal.stream('stdout', () => {}).write(Buffer.from(text));
    };
    print('one\n');
    await appendFile(file(), '{"time":"2026-01-01T00:00:00.000Z","stream":"stdo');
    print('two\n');
    await using reader = journalOf('web');
    expect(await texts(reader)).toEqual(['stdout: one\n', 'stdout: two\n']);
  });

  test('of an earlier run can be left out', async () => {
    using journal = new Journal('web');
    const out = journal.stream('stdout', () => {});
    out.write(Buffer.from('earlier\n'));
    await using reader = journalOf('web');
    await reader.skip();
    out.write(Buffer.from('now\n'));
    expect(await texts(reader)).toEqual(['stdout: now\n']);
  });

  test('the last lines', () => {
    const entries = ['a\n', 'b', 'c\n', 'd\n', 'e'].map((text) => ({ time: '', stream: 'stdout' as const, text }));
    expect(lastOf(entries, 2).map(({ text }) => text)).toEqual(['d\n', 'e']);
    expect(lastOf(entries, 3).map(({ text }) => text)).toEqual(['b', 'c\n', 'd\n', 'e']);
    expect(lastOf(entries, 0)).toEqual([]);
    expect(lastOf(entries, 9).length).toBe(5);
  });
});

describe('events', () => {
  const names = async (): Promise<string[]> => {
    await using reader = eventsOf();
    return (await reader.next()).map(({ guest, event }) => `${guest} ${event}`);
  };
  beforeEach(() => mkdir(guestsRoot(), { recursive: true }));

  test('one that was cut off is none, and the next one begins behind it', async () => {
    await logEvent('web', 'running');
    await appendFile(eventsFile(), '{"time":"2026-01-01T00:00:00.000Z","gue');
    await logEvent('web', 'exited', 3);
    expect(await names()).toEqual(['web running', 'web exited']);
  });

  test('many at once begin a file anew that is full, once, and all are kept', async () => {
    await writeFile(eventsFile(), `${JSON.stringify({ time: 'x'.repeat(1024 * 1024), guest: 'web', event: 'old' })}\n`);
    await Promise.all([1, 2, 3, 4, 5, 6].map((number) => logEvent('web', String(number))));
    expect((await names()).sort()).toEqual(['web 1', 'web 2', 'web 3', 'web 4', 'web 5', 'web 6', 'web old']);
    expect((await stat(eventsFile())).size).toBeLessThan(10_000);
  });
});

describe('a guest whose supervisor is killed', () => {
  const left: GuestStatus = { state: 'running', pid: 1, restarts: 0, ports: [] };

  test('is seen to have ended by who waits for it, though nothing is written', async () => {
    await claim('web');
    await writeStatus('web', left);
    const supervisor = await listen(socketOf('web'));
    const states: (string | undefined)[] = [];
    supervisor.once('connection', (socket) => socket.destroy());
    const watched = watchGuest(
      'web',
      async () => {
        states.push((await readStatus('web'))?.state);
        return true;
      },
      new AbortController().signal,
    );
    await watched;
    expect(states.length).toBeGreaterThan(0);
    supervisor.close();
    await expect(currentStatus('web')).resolves.toMatchObject({ state: 'exited', exitCode: 255 });
  });
});

describe('the socket of a supervisor', () => {
  test('is with the guest, whatever the environment of who asks, and may be deep down', async () => {
    await mkdir(join(work, 'd'.repeat(120)));
    process.env.XDG_STATE_HOME = join(work, 'd'.repeat(120));
    await claim('web');
    const server = await serve(socketOf('web'), { calls: { 'GET /status': async () => ({ state: 'running' }) }, streams: {} });
    process.env.XDG_RUNTIME_DIR = work;
    expect(await currentStatus('web')).toEqual({ state: 'running' });
    delete process.env.XDG_RUNTIME_DIR;
    expect(await currentStatus('web')).toEqual({ state: 'running' });
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
    expect(await readdir(directoryOf('web'))).toEqual([]);
  });
});

describe('a control group', () => {
  test('is left for the one that it is in, and removed', async () => {
    const group = join(work, 'slice', 'ukl-web');
    await mkdir(group, { recursive: true });
    await writeFile(join(work, 'slice', 'cgroup.procs'), '');
    await leaveGroup(group);
    expect(await readFile(join(work, 'slice', 'cgroup.procs'), 'utf8')).toBe(String(process.pid));
    expect(await readdir(join(work, 'slice'))).toEqual(['cgroup.procs']);
  });

  test('in which somebody is stays', async () => {
    await mkdir(join(work, 'ukl-web', 'another'), { recursive: true });
    await removeGroup(join(work, 'ukl-web'));
    expect(await readdir(work)).toContain('ukl-web');
  });
});

describe('durations', () => {
  test.each([0, -1, Number.NaN, 2_147_484])('a check each %d seconds is none', (intervalSeconds) => {
    expect(() => checkHealth({ test: 'tcp:80', intervalSeconds, retries: 1 })).toThrow(/cannot be made every/);
  });

  test('one that is longer than a timer can wait is refused by its flag', () => {
    expect(() => patience('2147484')).toThrow('expected seconds, 0 to 2000000.');
    expect(() => duration('0')).toThrow('expected seconds, above 0');
    expect([patience('0'), patience('2000000'), duration('0.5')]).toEqual([0, 2_000_000, 0.5]);
  });
});

describe('restarts', () => {
  test.each([
    ['no', 1, []],
    ['on-failure', 0, []],
    ['on-failure:2', 1, [100, 200]],
    ['always', 0, [100, 200, 400]],
  ])('%s, with status %i', (policy, exitCode, waits) => {
    const restarter = new Restarter(parseRestart(policy));
    expect([1, 2, 3].flatMap(() => restarter.next({ exitCode, ranMs: 5 }) ?? [])).toEqual(waits);
  });

  test('one that ran for a while is started at once again', () => {
    const restarter = new Restarter(parseRestart('always'));
    const waits = [5, 5, 20_000, 5].map((ranMs) => restarter.next({ exitCode: 1, ranMs }));
    expect(waits).toEqual([100, 200, 100, 200]);
    for (let times = 0; times < 20; times++) restarter.next({ exitCode: 1, ranMs: 1 });
    expect(restarter.next({ exitCode: 1, ranMs: 1 })).toBe(60_000);
  });

  test.each(['never', 'always:3', 'on-failure:x'])('%s is none', (text) => {
    expect(() => parseRestart(text)).toThrow(/is no restart policy/);
  });
});

test('who is killed before it accepts a connection has ended, and that is no error', async () => {
  const path = join(work, 'socket');
  const busy = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => { console.log('up'); setImmediate(() => { for (;;); }); })`;
  const server = spawn(process.execPath, ['-e', busy], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout, 'data');
  const ended = goneFrom(path);
  // The second of two that connect: the first has.
  const second = connect(path).on('error', () => {});
  await once(second, 'connect');
  server.kill('SIGKILL');
  await ended;
  second.destroy();
});

describe('a start of this machine', () => {
  const guest = (restart: string, status?: object): GuestSummary => ({ spec: { restart: parseRestart(restart) }, status }) as GuestSummary;
  const [runs, ended, stopped] = [{ state: 'running' }, { state: 'exited' }, { state: 'exited', stopped: true }];
  test.each([
    ['always', ended, true],
    ['always', stopped, true],
    ['always', undefined, true],
    ['always', runs, false],
    ['unless-stopped', ended, true],
    ['unless-stopped', stopped, false],
    ['unless-stopped', { state: 'restarting' }, false],
    ['on-failure', ended, false],
    ['no', ended, false],
  ])('brings back %s, %j: %j', (restart, status, back) => expect(comesBack(guest(restart, status))).toBe(back));

  test('is told to systemd', async () => {
    const file = join(work, 'ukl-guests.service');
    const strange = '/a "b" \\c %d $E';
    for (const root of [true, false]) {
      await writeFile(file, unit(root, { XDG_STATE_HOME: strange, HOME: '/root' }));
      const text = await readFile(file, 'utf8');
      expect(text).toContain('Environment="XDG_STATE_HOME=/a \\"b\\" \\\\c %%d $E"\n# ');
      expect(text).toContain(` start --at-boot\n`);
      expect(text).toContain(root ? 'WantedBy=multi-user.target' : 'WantedBy=default.target');
      if (existsSync('/usr/bin/systemd-analyze')) {
        const words = ['verify', '--man=no', ...(root ? [] : ['--user']), file];
        const { status, stderr } = spawnSync('systemd-analyze', words, { encoding: 'utf8', env: { ...process.env, XDG_RUNTIME_DIR: work } });
        expect([status, stderr.split('\n').filter((line) => line.includes('ukl-guests'))]).toEqual([0, []]);
      }
    }
  });
});

describe('names', () => {
  test('one is taken once, and an unknown one brings up the one that was meant', async () => {
    await claim('web');
    await expect(claim('web')).rejects.toThrow(/there is a guest 'web' already/);
    await writeSpec({
      version: 1,
      name: 'web',
      target: 'x',
      image: 'x',
      directory: '/',
      created: '2026-01-01T00:00:00.000Z',
      options: {},
      restart: { policy: 'no' },
      interactive: false,
      remove: false,
      stopSignal: 'TERM',
    });
    await expect(specOf('wep')).rejects.toMatchObject({ message: "there is no guest 'wep'", hint: expect.stringContaining("did you mean 'web'") });
    await expect(specOf('../web')).rejects.toThrow(/no guest/);
    await release('web');
    await expect(specOf('web')).rejects.toMatchObject({ hint: 'ukl ps -a' });
  });

  test.each(['', '.hidden', '../x', 'a/b', 'a b', 'x'.repeat(64)])("'%s' is none", (name) => {
    expect(() => checkName(name)).toThrow(/is no name of a guest/);
  });
});

test('programs of a command: the first word, and those of a line for a shell', () => {
  expect(programsIn(['/bin/sh', '-c', 'ss -tln | head'])).toEqual(['/bin/sh', 'ss', '-tln', 'head']);
  expect(programsIn(['cat', '-c', 'x'])).toEqual(['cat']);
});

describe("init's archives", () => {
  const init =
    (...words: string[]) =>
    (input?: Buffer) =>
      spawnSync(join(compiled, 'init'), words, { input: input ?? '', cwd: work, maxBuffer: 1 << 26 });

  let compiled: string;
  beforeAll(async () => {
    compiled = await mkdtemp(join(tmpdir(), 'ukl-init-'));
    const { status, stderr } = spawnSync('sh', ['-c', `gcc -O1 -static -fsanitize=undefined -fno-sanitize-recover -o ${compiled}/init guest/init/*.c`], {
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
  }, 120_000);
  afterAll(() => rm(compiled, { recursive: true }));

  test('go through GNU tar and back', () => {
    const long = 'n'.repeat(150);
    const made = spawnSync(
      'sh',
      ['-c', `mkdir -p a/b && echo hi > a/b/x && echo long > a/${long} && ln -s ${long} a/l && truncate -s 70000 a/zeros && chmod 741 a/b/x`],
      { cwd: work },
    );
    expect(made.status).toBe(0);
    const archive = init('get', 'a')().stdout;
    const list = spawnSync('tar', ['-tvf', '-'], { input: archive, encoding: 'utf8' });
    expect(list.stdout).toContain(`a/l -> ${long}`);
    expect(list.stdout).toMatch(/-rwxr----x 0\/0 .* a\/b\/x/);
    expect(spawnSync('mkdir', ['out'], { cwd: work }).status).toBe(0);
    expect(init('put', 'out')(spawnSync('tar', ['-cf', '-', 'a'], { cwd: work }).stdout).status).toBe(0);
    expect(spawnSync('diff', ['-r', 'a', 'out/a'], { cwd: work }).status).toBe(0);
  });

  test("the kernel's files have what is read of them, whatever they say of their size", async () => {
    const copied = (path: string): string => spawnSync('tar', ['-xOf', '-'], { input: init('get', path)().stdout, encoding: 'utf8' }).stdout;
    // Nothing, and a page.
    for (const path of ['/proc/version', '/sys/kernel/mm/transparent_hugepage/enabled']) expect(copied(path)).toBe(await readFile(path, 'utf8'));
    // All of a process's memory, of which there is no end.
    expect(init('get', '/proc/self/pagemap')().stderr.toString()).toBe('/proc/self/pagemap: File too large\n');
  });

  test('what is damaged, cut off or leads out is refused', () => {
    const archive = spawnSync('tar', ['-cPf', '-', '--transform', 's,^.*,../escaped,', '/etc/hostname'], { cwd: work }).stdout;
    const leading = init('put', '.')(archive);
    expect([leading.status, leading.stderr.toString()]).toEqual([1, '../escaped: leads out of the directory\n']);
    const damaged = Buffer.from(archive);
    damaged.write('7', 148);
    expect(init('put', '.')(damaged).stderr.toString()).toBe('this is no archive\n');
    expect(init('put', '.')(archive.subarray(0, 100)).stderr.toString()).toBe('the archive ends in the middle\n');
  });
});
