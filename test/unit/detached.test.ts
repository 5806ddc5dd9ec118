// SPDX-License-Identifier: MIT
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { programsIn } from '../../src/detached/exec.js';
import { Journal, JournalReader, lastOf } from '../../src/detached/journal.js';
import { checkName, claim, release, specOf, writeSpec } from '../../src/detached/record.js';
import { parseRestart, Restarter } from '../../src/detached/restart.js';
import { encodeFrame, FRAME_MAX, FrameSplitter, framesOf } from '../../src/guest/frames.js';

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
  const texts = async (reader: JournalReader): Promise<string[]> => (await reader.next()).map(({ stream, text }) => `${stream}: ${text}`);

  test('keeps lines and what has no end yet, in order, for who reads on', async () => {
    const journal = new Journal(work);
    const out = journal.stream('stdout', () => {});
    out.write(Buffer.from('one\ntw'));
    await using reader = new JournalReader(work);
    expect(await texts(reader)).toEqual(['stdout: one\n', 'stdout: tw']);
    out.write(Buffer.from('o\n'));
    journal.stream('stderr', () => {}).write(Buffer.from([0xc3]));
    expect(await texts(reader)).toEqual(['stdout: o\n']);
    expect(await texts(reader)).toEqual([]);
  });

  test('a character in two chunks is one', async () => {
    const out = new Journal(work).stream('stdout', () => {});
    out.write(Buffer.from('é\n').subarray(0, 1));
    out.write(Buffer.from('é\n').subarray(1));
    await using reader = new JournalReader(work);
    expect(await texts(reader)).toEqual(['stdout: é\n']);
  });

  test('goes on in another file, of which a reader misses nothing', async () => {
    const journal = new Journal(work);
    const out = journal.stream('stdout', () => {});
    await using reader = new JournalReader(work);
    let seen = 0;
    const line = Buffer.from(`${'x'.repeat(99_999)}\n`);
    for (let number = 0; number < 250; number++) {
      out.write(line);
      if (number % 10 === 0) seen += (await reader.next()).length;
    }
    seen += (await reader.next()).length;
    expect(seen).toBe(250);
    expect((await stat(join(work, 'journal'))).size).toBeLessThanOrEqual(10 * 1024 * 1024);
    // Of what came before the last two files nothing is left.
    await using late = new JournalReader(work);
    expect((await late.next()).length).toBeLessThan(250);
  });

  test('the last lines', () => {
    const entries = ['a\n', 'b', 'c\n', 'd\n', 'e'].map((text) => ({ time: '', stream: 'stdout' as const, text }));
    expect(lastOf(entries, 2).map(({ text }) => text)).toEqual(['d\n', 'e']);
    expect(lastOf(entries, 3).map(({ text }) => text)).toEqual(['b', 'c\n', 'd\n', 'e']);
    expect(lastOf(entries, 0)).toEqual([]);
    expect(lastOf(entries, 9).length).toBe(5);
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
      spawnSync(join(work, 'init'), words, { input: input ?? '', cwd: work, maxBuffer: 1 << 26 });

  beforeEach(() => {
    const { status, stderr } = spawnSync('sh', ['-c', `gcc -O1 -static -fsanitize=undefined -fno-sanitize-recover -o ${work}/init guest/init/*.c`], {
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
  }, 120_000);

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
