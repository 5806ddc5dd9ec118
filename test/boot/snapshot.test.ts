// SPDX-License-Identifier: MIT
/** Guests that are saved, and what their clones have of their own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Switch } from '../../src/detached/switch.js';
import { projectRoot, storeRoot } from '../../src/lib/paths.js';
import { type RunningVm, type RunOptions, removeSnapshot, restore, run, saveSnapshot } from '../../src/sdk/index.js';
import { type CommandResult, host, Sink, ukl } from './harness.js';

const NAME = `test-${process.pid}`;
const names = new Set<string>();
afterAll(async () => {
  // Some are made only by a machine that is fast enough.
  for (const name of names) await removeSnapshot(name).catch(() => {});
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

/** Counts the lines that it reads, and ends as it is told. */
const COUNTER = `n=0
while read -r line; do
  [ "$line" = end ] && exit 3
  n=$((n + 1))
  echo "$line $n $(< /proc/sys/kernel/random/uuid)"
done`;

describe('a guest that runs by itself', () => {
  let state: string;
  const cli = (...args: string[]): Promise<CommandResult> => host(ukl, args, { XDG_STATE_HOME: state, NO_COLOR: '1' });
  const own = `${NAME}-counter`;
  const saved = `${NAME}-running`;
  beforeAll(async () => {
    state = await mkdtemp(join(tmpdir(), 'ukl-state-'));
    const { code, stderr } = await cli('run', '-d', '-i', '--name', own, '--accel', 'tcg', '/bin/bash', '--', '-c', COUNTER);
    expect(code, stderr).toBe(0);
  });
  afterAll(async () => {
    for (const name of (await cli('ps', '-a', '-q')).stdout.split('\n').filter(Boolean)) await cli('rm', '-f', name);
    await rm(state, { recursive: true });
  });

  /** Gives a guest a line; settles with its answer. */
  async function say(name: string, line: string): Promise<string[]> {
    const child = spawn(ukl, ['attach', name], { env: { ...process.env, XDG_STATE_HOME: state }, stdio: ['pipe', 'pipe', 'ignore'] });
    const out = new Sink();
    child.stdout.pipe(out);
    child.stdin.write(`${line}\n`);
    await out.until(new RegExp(`${line} \\d+ .*\n`));
    child.kill('SIGINT');
    return out.text().trim().split(' ');
  }

  test('is saved by its name and goes on, and so do others that know what it knew', async () => {
    expect((await say(own, 'one'))[1]).toBe('1');
    names.add(saved);
    const { code, stdout, stderr } = await cli('snapshot', 'save', own, saved);
    expect([code, stdout], stderr).toEqual([0, expect.stringContaining(`ukl run --from-snapshot ${saved}`)]);
    for (const clone of ['first', 'second']) {
      const { code: status, stderr: why } = await cli('run', '-d', '-i', '--from-snapshot', saved, '--name', clone, '--restart', 'on-failure:1');
      expect(status, why).toBe(0);
    }
    const said = await Promise.all([own, 'first', 'second'].map((name) => say(name, 'two')));
    expect(said.map(([, count]) => count)).toEqual(['2', '2', '2']);
    expect(new Set(said.map(([, , uuid]) => uuid)).size).toBe(3);
  });

  test('is started again from what was saved, which others may have removed', async () => {
    await cli('snapshot', 'rm', saved);
    const log = new Sink();
    const child = spawn(ukl, ['events', '--past', '-f'], { env: { ...process.env, XDG_STATE_HOME: state }, stdio: ['ignore', 'pipe', 'ignore'] });
    child.stdout.pipe(log);
    const attached = spawn(ukl, ['attach', 'first'], { env: { ...process.env, XDG_STATE_HOME: state }, stdio: ['pipe', 'ignore', 'ignore'] });
    attached.stdin.write('end\n');
    await log.until(/first restarting[^]*first running/);
    child.kill('SIGINT');
    expect((await say('first', 'again'))[1]).toBe('2');
  });

  test('is saved again from a clone', async () => {
    const again = `${saved}-again`;
    names.add(again);
    const { code, stderr } = await cli('snapshot', 'save', 'second', again);
    expect(code, stderr).toBe(0);
    await using vm = await run({ fromSnapshot: again, accel: 'tcg' });
    const out = new Sink();
    vm.stdout.pipe(out);
    vm.stderr.resume();
    vm.stdin.write('three\n');
    await out.until(/^three 3 /m);
  });

  test('is not saved where that cannot be, which is said', async () => {
    const again = `${saved}-again`;
    const taken = await cli('snapshot', 'save', own, again);
    expect([taken.code, taken.stderr]).toEqual([2, expect.stringContaining(`there is a snapshot '${again}' already`)]);
    const unknown = await cli('snapshot', 'save', own.slice(0, -1));
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining(`did you mean '${own}'?`)]);
    const changed = await cli('snapshot', 'save', own, '-M', '1G');
    expect([changed.code, changed.stderr]).toEqual([2, expect.stringContaining("'memory' cannot be added")]);
    await cli('pause', own);
    const paused = await cli('snapshot', 'save', own);
    expect([paused.code, paused.stderr]).toEqual([2, expect.stringContaining(`ukl unpause ${own}`)]);
    await cli('unpause', own);
    const other = await cli('run', '-d', '--from-snapshot', again, '-M', '1G');
    expect([other.code, other.stderr]).toEqual([2, expect.stringContaining("has its own 'memory'")]);
    expect((await cli('ps', '-a', '-q')).stdout.split('\n').filter(Boolean).sort()).toEqual(['first', 'second', own].sort());
  });

  test('is saved once at a time', async () => {
    const both = await Promise.all(['a', 'b'].map((letter) => cli('snapshot', 'save', own, `${saved}-${letter}`)));
    for (const letter of ['a', 'b']) names.add(`${saved}-${letter}`);
    const one = both.find(({ code }) => code !== 0);
    if (one !== undefined) expect([one.code, one.stderr]).toEqual([2, expect.stringContaining('the guest is being saved')]);
    expect(both.filter(({ code }) => code === 0).length).toBeGreaterThan(0);
    expect((await say(own, 'on'))[0]).toBe('on');
  });

  // A file system of a size needs root.
  test.skipIf(process.getuid?.() !== 0)('leaves nothing on a disk that is full', async () => {
    const script = `mount -t tmpfs -o size=8m none "$1"
"$0" run -d -i --name full /bin/bash --accel tcg -- -c 'read x'
"$0" snapshot save full ${saved}-full && exit 99
ls -A "$1"
"$0" rm -f full`;
    await mkdir(join(storeRoot(), 'tmp'), { recursive: true });
    const { stdout, stderr } = await host('unshare', ['-m', 'sh', '-c', script, ukl, join(storeRoot(), 'tmp')], { XDG_STATE_HOME: state, NO_COLOR: '1' });
    expect(stderr).toContain('no space left for the snapshot');
    expect(stdout).toBe('full\nfull\n');
  });

  test('hears what it is told while it is saved, and is not saved beside a session', async () => {
    await using vm = await run('/bin/bash', { args: ['-c', 'read x'], accel: 'tcg' });
    vm.stdout.resume();
    vm.stderr.resume();
    await vm.started;
    const session = await vm.exec(['/bin/bash', '-c', 'read x']);
    await expect(vm.save(`${saved}-beside`)).rejects.toMatchObject({ code: 'UKL_USAGE', message: expect.stringContaining('a program runs beside') });
    session.stdin.end('go\n');
    await session.end;
    names.add(`${saved}-told`);
    await expect
      .poll(
        () =>
          vm.save(`${saved}-told`).then(
            () => true,
            () => false,
          ),
        { timeout: 30_000 },
      )
      .toBe(true);
    const directory = await mkdtemp(join(state, 'files-'));
    const saving = vm.saveFiles(directory);
    const [lines, again] = await Promise.all([vm.inspect('comm'), vm.exec(['/bin/bash', '-c', 'exit 4'])]);
    expect(lines).toEqual(['bash']);
    await saving;
    expect((await readdir(directory)).sort()).toEqual(['memory', 'state']);
    expect((await again.end).exitCode).toBe(4);
  });

  test('that ends while it is saved is no snapshot', async () => {
    await using vm = await run('/bin/bash', { args: ['-c', 'read x'], accel: 'tcg' });
    vm.stdout.resume();
    vm.stderr.resume();
    await vm.started;
    const saving = vm.save(`${saved}-gone`);
    const told = expect(saving).rejects.toMatchObject({ code: 'UKL_VMM' });
    vm.kill();
    await told;
    expect((await cli('snapshot', 'ls')).stdout).not.toContain(`${saved}-gone`);
  });

  test('goes on with the same QEMU alone, and is not started anew in its place', async () => {
    const name = `${saved}-again`;
    const { snapshots } = JSON.parse((await cli('snapshot', 'ls', '--json')).stdout) as { snapshots: { name: string; directory: string }[] };
    const file = join(snapshots.find((one) => one.name === name)?.directory ?? '', 'snapshot.json');
    await writeFile(file, (await readFile(file, 'utf8')).replace(/"QEMU":"\w+"/, '"QEMU":"other"'));
    const { code, stderr } = await cli('run', '--from-snapshot', name, '--accel', 'tcg');
    expect(stderr).toContain(`'${name}' was saved with another QEMU: this host cannot go on with it`);
    expect(code).not.toBe(0);
  });
});

test('clones in a network that they share have a hardware address and addresses of their own, and nothing leaves them before', async () => {
  const name = `${NAME}-shared`;
  names.add(name);
  const directory = await mkdtemp(join(tmpdir(), 'ukl-shared-'));
  const net = `socket:${join(directory, 'switch')}`;
  const shared = new Switch();
  /** Of each port, the hardware addresses that frames came from. */
  const senders: Set<string>[] = [];
  const server = createServer((socket) => {
    const seen = new Set<string>();
    senders.push(seen);
    shared.connect(socket);
    let bytes = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (; bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0); bytes = bytes.subarray(4 + bytes.readUInt32BE(0)))
        seen.add(bytes.toString('hex', 10, 16).replace(/..\B/g, '$&:'));
    });
  }).listen(join(directory, 'switch'));
  await once(server, 'listening');
  const guests: RunningVm[] = [];
  try {
    guests.push(await run(join(projectRoot, 'examples/http/http.c'), { net, network: '10.9.0.2/24', accel: 'tcg' }));
    await guests[0]?.listening(80);
    await guests[0]?.save(name);
    await expect(run({ fromSnapshot: name })).rejects.toThrow('has the address 10.9.0.2/24 in a network that it shares');
    await expect(run({ fromSnapshot: name, net: 'user', network: 'dhcp' })).rejects.toThrow('has the networks socket, and not user');
    for (const last of [3, 4]) guests.push(await run({ fromSnapshot: name, network: `10.9.0.${last}/24` }));
    for (const { stdout, stderr, started } of guests) {
      stdout.resume();
      stderr.resume();
      await started;
    }
    const ask = [2, 3, 4].map(
      (last) => `exec 3<>/dev/tcp/10.9.0.${last}/80; printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3; read -r line <&3; echo "$line"`,
    );
    const out = new Sink();
    await using client = await run('/bin/bash', { net, network: '10.9.0.1/24', accel: 'tcg', args: ['-c', ask.join('\n')], timeout: 120, stdout: out });
    client.stderr.resume();
    await client.result;
    expect(out.text()).toMatch(/^(HTTP\/1.1 200 OK\r?\n){3}$/);
    const macs = guests.map(({ plan }) => plan.machine.nics[0]?.mac ?? '');
    expect(new Set(macs).size).toBe(3);
    expect(senders.slice(0, 3).map((seen) => [...seen])).toEqual(macs.map((mac) => [mac]));
  } finally {
    for (const guest of guests) await guest[Symbol.asyncDispose]();
    server.close();
    await rm(directory, { recursive: true });
  }
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
