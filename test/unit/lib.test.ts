// SPDX-License-Identifier: MIT
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { asUklError } from '../../src/lib/errors.js';
import { exec } from '../../src/lib/exec.js';
import { withLock } from '../../src/lib/lock.js';
import { silentLog } from '../../src/lib/log.js';
import { nearest } from '../../src/lib/nearest.js';
import { projectRoot } from '../../src/lib/paths.js';
import { ownerLives, ownerMark } from '../../src/lib/scratch.js';
import { formatSize, parseSize } from '../../src/lib/size.js';
import { fromStore, listStore } from '../../src/store/store.js';

let work: string;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-unit-'));
});
afterEach(() => rm(work, { recursive: true, force: true }));

describe('sizes', () => {
  test.each([
    ['256M', 256 * 1024 ** 2],
    ['256', 256 * 1024 ** 2],
    ['1G', 1024 ** 3],
    ['64Mi', 64 * 1024 ** 2],
    ['512k', 512 * 1024],
  ])('%s', (text, bytes) => expect(parseSize(text)).toBe(bytes));
  test.each(['', 'M', '-1', '1T', '1.5G'])('%s is refused', (text) => expect(() => parseSize(text)).toThrow(/expected a size/));
  test('for people', () => expect([512, 2048, 5 * 1024 ** 2, 3 * 1024 ** 3].map(formatSize)).toEqual(['512 B', '2.0 KiB', '5.0 MiB', '3.0 GiB']));
});

describe('the name that was meant', () => {
  const names = ['microvm', 'q35', 'pc', 'e1000', 'e1000e'];
  test.each([
    ['q36', 'q35'],
    ['Q35', 'q35'],
    ['e100', 'e1000'],
    ['e10000e', 'e1000e'],
    ['micro-vm', 'microvm'],
    ['virtualbox', undefined],
    ['', undefined],
  ])('%s', (word, name) => expect(nearest(word, names)).toBe(name));
});

describe('directories for one job', () => {
  const children: ReturnType<typeof spawn>[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });
  const script = `import { makeScratch } from '${projectRoot}/src/lib/scratch.js';\nconsole.log((await makeScratch('test')).path);\nsetInterval(() => {}, 1000);\n`;
  async function start(): Promise<{ child: ReturnType<typeof spawn>; path: string }> {
    const file = join(work, 'scratch.mts');
    await writeFile(file, script);
    const child = spawn(process.execPath, ['--import', `file://${projectRoot}/node_modules/tsx/dist/loader.mjs`, file], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, TMPDIR: work },
    });
    children.push(child);
    const path = await new Promise<string>((resolve) => child.stdout?.once('data', (chunk: Buffer) => resolve(chunk.toString().trim())));
    return { child, path };
  }

  test('the next process removes those of one that was killed, and not those of one that lives', async () => {
    const killed = await start();
    const lives = await start();
    killed.child.kill('SIGKILL');
    await once(killed.child, 'close');
    expect(existsSync(killed.path)).toBe(true);
    await start();
    expect([existsSync(killed.path), existsSync(lives.path)]).toEqual([false, true]);
  });

  test.each([
    ['ukl-run-1.2-x', undefined],
    ['ukl-run-x', undefined],
    [`ukl-run-${ownerMark()}-x`, true],
    [`run-a-b-${ownerMark()}-time.log`, true],
  ])('%s: its owner lives: %s', (name, lives) => expect(ownerLives(name)).toBe(lives));
});

describe('what the host refuses is no bug', () => {
  test.each([
    [() => readFile('/nonexistent/file'), 'UKL_HOST', '/nonexistent/file: no such file or directory'],
    [() => readFile('/etc'), 'UKL_BUG', 'EISDIR: illegal operation on a directory, read'],
    [() => readFile('/etc/passwd/x'), 'UKL_HOST', '/etc/passwd/x: not a directory'],
  ])('%s', async (work, code, message) => {
    const error = await work().then(
      () => undefined,
      (thrown: unknown) => asUklError(thrown),
    );
    expect(error).toMatchObject({ code, message });
  });
});

describe('locks', () => {
  test('one at a time, in this process', async () => {
    const order: string[] = [];
    const lock = join(work, 'lock');
    const second = await withLock(lock, async () => {
      let later: Promise<number> = Promise.resolve(0);
      await new Promise<void>((onWait) => {
        later = withLock(lock, async () => order.push('second'), { onWait });
      });
      order.push('first');
      return { later };
    });
    await second.later;
    expect(order).toEqual(['first', 'second']);
  });

  test('a holder that is killed lets go', async () => {
    const script = join(work, 'hold.ts');
    await writeFile(
      script,
      `import { withLock } from '${projectRoot}/src/lib/lock.js';\nvoid withLock('${work}/lock', async () => { console.log('held'); await new Promise(() => setInterval(() => {}, 1000)); });\n`,
    );
    const child = spawn(process.execPath, ['--import', `file://${projectRoot}/node_modules/tsx/dist/loader.mjs`, script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    let waiting = false;
    const mine = withLock(join(work, 'lock'), async () => 'mine', {
      onWait: () => {
        waiting = true;
        child.kill('SIGKILL');
      },
    });
    expect(await mine).toBe('mine');
    expect(waiting).toBe(true);
  });

  test('only its user could hold it, and nothing of it is left', async () => {
    const lock = join(work, 'lock');
    await withLock(lock, async () => expect((await stat(lock)).mode & 0o777).toBe(0o600));
    expect(existsSync(lock)).toBe(false);
  });

  test('many want it, and have it one at a time', async () => {
    const lock = join(work, 'lock');
    let inside = 0;
    const most: number[] = [];
    const turn = async (): Promise<void> => {
      most.push(++inside);
      await readFile('/proc/self/stat');
      inside--;
    };
    await Promise.all(Array.from({ length: 12 }, () => withLock(lock, turn)));
    expect(most).toEqual(Array.from({ length: 12 }, () => 1));
  });

  test('who waits can be told to give up', async () => {
    const lock = join(work, 'lock');
    const given = new AbortController();
    await withLock(lock, async () => {
      const second = withLock(lock, async () => 'never', { signal: given.signal, onWait: () => given.abort(new Error('enough')) });
      await expect(second).rejects.toThrow('enough');
    });
  });
});

describe('exec', () => {
  test('a failure has the command, its status and its last words', async () => {
    await expect(exec('sh', ['-c', 'echo out; echo words >&2; exit 3'])).rejects.toMatchObject({
      code: 'UKL_COMMAND',
      message: expect.stringContaining('exit status 3'),
      details: 'out\nwords',
    });
  });
  test('a missing program is told', async () => {
    await expect(exec('/no/such/program', [])).rejects.toMatchObject({ message: expect.stringContaining('not found') });
  });
  test.each([
    'x: No space left on device',
    'xorriso : FAILURE : Image size 26624s exceeds free space on media 3268s',
    'tar: out: Wrote only 6144 of 10240 bytes',
  ])('a full disk is told as one: %s', async (words) => {
    await expect(exec('sh', ['-c', 'echo "$0"; exit 1', words])).rejects.toMatchObject({
      code: 'UKL_DISK_FULL',
      hint: expect.stringContaining('TMPDIR') as string,
    });
  });
  test('an abort ends the whole process group', async () => {
    const controller = new AbortController();
    const pidFile = join(work, 'pid');
    const running = exec('sh', ['-c', `sleep 1000 & echo $! > ${pidFile}; echo up; wait`], {
      signal: controller.signal,
      onLine: () => controller.abort(new Error('stop')),
    });
    await expect(running).rejects.toThrow('stop');
    const pid = Number(await readFile(pidFile, 'utf8'));
    // It has had its signal, and closed its files; its end may be a moment away.
    const alive = async (): Promise<boolean> => {
      const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z ');
      return !/\) [ZX] /.test(state);
    };
    while (await alive()) await new Promise((resolve) => setImmediate(resolve));
    expect(await alive()).toBe(false);
  });
});

describe('store', () => {
  const recipe = (make: (output: string, scratch: string) => Promise<void>) => ({
    kind: 'thing',
    title: 'make a thing',
    key: { work },
    make: async ({ output, work: scratch }: { output: string; work: string }) => make(output, scratch),
  });
  beforeEach(() => {
    process.env.UKL_STORE = join(work, 'store');
  });
  afterEach(() => {
    delete process.env.UKL_STORE;
  });

  test('makes once, and remembers', async () => {
    let made = 0;
    const one = recipe(async (output) => {
      made++;
      await writeFile(join(output, 'file'), 'content');
    });
    const path = await fromStore(one, { log: silentLog });
    expect(await fromStore(one, { log: silentLog })).toBe(path);
    expect(made).toBe(1);
    expect(await readFile(join(path, 'file'), 'utf8')).toBe('content');
  });

  test('what failed is not there, and the next attempt finds the scratch directory', async () => {
    const failing = recipe(async (output, scratch) => {
      await writeFile(join(scratch, 'half'), 'kept');
      await writeFile(join(output, 'file'), 'half');
      throw new Error('interrupted');
    });
    await expect(fromStore(failing, { log: silentLog })).rejects.toThrow('interrupted');
    expect((await listStore()).filter((entry) => entry.name.startsWith('thing-'))).toEqual([]);
    let found = '';
    const path = await fromStore(
      recipe(async (output, scratch) => {
        found = await readFile(join(scratch, 'half'), 'utf8');
        await writeFile(join(output, 'other'), '');
      }),
      { log: silentLog },
    );
    expect(found).toBe('kept');
    await expect(readFile(join(path, 'file'))).rejects.toThrow();
  });

  test('two at once make one', async () => {
    let made = 0;
    const one = recipe(async (output) => {
      made++;
      await writeFile(join(output, 'file'), '');
    });
    const paths = await Promise.all([fromStore(one, { log: silentLog }), fromStore(one, { log: silentLog })]);
    expect(paths[0]).toBe(paths[1]);
    expect(made).toBe(1);
  });
});
