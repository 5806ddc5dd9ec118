// SPDX-License-Identifier: MIT
/** Guests that are saved, and what their clones have of their own. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { type RunningVm, type RunOptions, removeSnapshot, restore, saveSnapshot } from '../../src/sdk/index.js';
import { host, Sink, ukl } from './harness.js';

const NAME = `test-${process.pid}`;
const names = new Set<string>();
afterAll(async () => {
  for (const name of names) await removeSnapshot(name);
});

/** Waits to be saved; says then what it has of its own. */
const SCRIPT = `kept=$(< /proc/sys/kernel/random/uuid)
echo > /.ukl/ready
read -r < /.ukl/go
echo "kept $kept"
echo "uuid $(< /proc/sys/kernel/random/uuid)"
echo "host $(< /proc/sys/kernel/hostname)"
echo "time $EPOCHREALTIME"
while read -r -d '' word; do echo "word $word"; done < /.ukl/instance
while read -r line; do echo "read $line"; done
exit 7`;

/** Lines by their first words. */
const linesOf = (text: string): ReadonlyMap<string, string> =>
  new Map(
    text
      .trim()
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]),
  );

async function clone(name: string, options: RunOptions = {}): Promise<{ vm: RunningVm; stdout: Sink }> {
  const stdout = new Sink();
  const vm = await restore(name, { timeout: 120, ...options, stdout });
  vm.stderr.resume();
  return { vm, stdout };
}

describe('a program that says when', () => {
  beforeAll(async () => {
    names.add(NAME);
    await saveSnapshot('/bin/bash', { name: NAME, args: ['-c', SCRIPT], env: { LC_ALL: 'C' }, accel: 'tcg' });
  });

  test('goes on as many, each with its own', async () => {
    const before = Date.now() / 1000;
    const both = await Promise.all(['one', 'two'].map((word) => clone(NAME, { args: [word], env: { WHO: word } })));
    for (const { vm } of both) vm.stdin.end(`hello\n`);
    for (const { vm } of both) expect((await vm.result).end).toEqual({ kind: 'exit', status: 7 });
    const [one, two] = both.map(({ stdout }) => linesOf(stdout.text()));
    expect(one?.get('kept')).toBe(two?.get('kept'));
    expect(one?.get('uuid')).toMatch(/^[\da-f-]{36}$/);
    expect(one?.get('uuid')).not.toBe(two?.get('uuid'));
    for (const lines of [one, two]) {
      expect(Number(lines?.get('time'))).toBeGreaterThan(before - 1);
      expect(Number(lines?.get('time'))).toBeLessThan(Date.now() / 1000 + 1);
      expect(lines?.get('read')).toBe('hello');
    }
    expect(both[1]?.stdout.text()).toContain('word arg\nword two\nword env\nword WHO=two\n');
  });

  test('is found again when it is saved from the same, and listed', async () => {
    const other = `${NAME}-other`;
    names.add(other);
    const saved = await host(ukl, ['snapshot', 'save', '/bin/bash', '--name', other, '-e', 'LC_ALL=C', '--accel', 'tcg', '--json', '--', '-c', SCRIPT]);
    expect(saved.code, saved.stderr + saved.stdout).toBe(0);
    const list = await host(ukl, ['snapshot', 'ls', '--json']);
    const found = (JSON.parse(list.stdout) as { snapshots: { name: string; directory: string }[] }).snapshots.filter(({ name }) => names.has(name));
    expect(found.map(({ name }) => name).sort()).toEqual([NAME, other]);
    expect(found[0]?.directory).toBe(found[1]?.directory);
  });

  test('is started anew where it cannot go on, which is said', async () => {
    const { snapshots } = JSON.parse((await host(ukl, ['snapshot', 'ls', '--json'])).stdout) as { snapshots: { name: string; directory: string }[] };
    const file = join(snapshots.find(({ name }) => name === NAME)?.directory ?? '', 'snapshot.json');
    const record = await readFile(file, 'utf8');
    try {
      await writeFile(file, record.replace(/"QEMU":"\w+"/, '"QEMU":"other"'));
      const anew = await host(ukl, ['run', '--from-snapshot', NAME, '--accel', 'tcg']);
      expect(anew.stderr).toContain(`'${NAME}' was saved with another QEMU: it is started anew`);
      expect(anew.code).toBe(7);
    } finally {
      await writeFile(file, record);
    }
  });

  test.each([
    [['run', '--from-snapshot', NAME, '-M', '1G'], `the snapshot '${NAME}' has its own 'memory'`],
    [['run', '--from-snapshot', 'nothere'], "there is no snapshot 'nothere'"],
    [['run', 'examples/hello', '--from-snapshot', NAME], 'a snapshot has its own program'],
    [['snapshot', 'rm', '../x'], "'../x' is no name for a snapshot"],
    [['snapshot', 'save', '/bin/true', '--name', 'x', '-v', '/tmp:/data'], 'a guest with volumes is not saved'],
    [['snapshot', 'save', '/bin/true', '--name', 'x', '--icount'], 'a guest under gdb, --icount or a plugin is not saved'],
  ])('%j is refused', async (words, message) => {
    const { code, stderr } = await host(ukl, words);
    expect(stderr).toContain(message);
    expect(code).toBe(2);
  });
});

test('no thread of two processors runs before its clone has a seed', async () => {
  const name = `${NAME}-threads`;
  names.add(name);
  await saveSnapshot(join(projectRoot, 'test/fixtures/clones.c'), { name, cpus: 2, accel: 'tcg' });
  const clones = await Promise.all([clone(name), clone(name)]);
  for (const { vm } of clones) expect((await vm.result).end).toEqual({ kind: 'exit', status: 0 });
  const [one, two] = clones.map(({ stdout }) =>
    stdout
      .text()
      .trim()
      .split('\n')
      .map((line) => line.split(' ')),
  );
  // They drew the same until they were saved, and each its own from its first instruction on.
  expect(one?.map(([count]) => count)).toEqual(two?.map(([count]) => count));
  expect(Number(one?.[0]?.[0])).toBeGreaterThan(0);
  expect(new Set([one, two].flatMap((lines) => lines?.map(([, after]) => after))).size).toBe(4);
});

test('a guest that ends before it is ready is not saved', async () => {
  const { code, stderr } = await host(ukl, ['snapshot', 'save', '/bin/true', '--name', `${NAME}-never`, '--accel', 'tcg']);
  expect(stderr).toContain('the guest ended before it was ready');
  expect(code).toBe(1);
});
