// SPDX-License-Identifier: MIT
/** Each way a guest can end is told from the others, and leaves nothing behind. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { build } from '../../src/sdk/index.js';
import { Qmp } from '../../src/vmms/qemu/qmp.js';
import { type CommandResult, freePort, host, ukl } from './harness.js';

let work: string;
let image: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-ends-'));
  image = join(work, 'ends.image');
  await build(join(projectRoot, 'test/fixtures/ends.c'), { out: image });
});
afterAll(() => rm(work, { recursive: true, force: true }));

const cli = (...args: string[]): Promise<CommandResult> => host(ukl, ['run', image, '--accel', 'tcg', ...args], { NO_COLOR: '1' });

interface JsonRun {
  readonly ok: boolean;
  readonly exit: Record<string, unknown> & { readonly fault?: Record<string, string> };
  readonly exitCode: number;
  readonly stdout: string;
}
async function json(...args: string[]): Promise<JsonRun & { code: number | null }> {
  const result = await cli('--json', ...args);
  return { ...(JSON.parse(result.stdout) as JsonRun), code: result.code };
}

describe('exit statuses', () => {
  test.concurrent.each([0, 1, 42, 125, 255])('exit %s', async (status) => {
    const result = await cli('--', 'exit', String(status));
    expect(result).toMatchObject({ code: status, stdout: 'started\n', stderr: '' });
  });

  test.concurrent('a crash has its signal, address and symbol', async () => {
    const result = await json('--', 'crash');
    expect(result).toMatchObject({ ok: false, code: 139, exit: { kind: 'signal', signal: 11, fault: { address: '0x10' } } });
    expect(result.exit.fault?.symbol).toMatch(/^crash_here at ends\.c:\d+/);
    const text = await cli('--', 'crash');
    expect(text.stderr).toMatch(/killed by SIGSEGV: address 0x10, at crash_here at ends\.c:\d+/);
  });

  test.concurrent('abort', async () => {
    expect(await json('--', 'abort')).toMatchObject({ code: 134, exit: { kind: 'signal', signal: 6 } });
  });

  test.concurrent('out of memory says so', async () => {
    const result = await cli('-M', '128M', '--', 'eat');
    expect(result.code).toBe(137);
    expect(result.stderr).toMatch(/ran out of memory \(give it more with -M\)/);
  });
});

describe('a kernel that dies', () => {
  test.concurrent('a wild write is reported as a dead kernel, quickly', async () => {
    const start = Date.now();
    const result = await json('--timeout', '60', '--', 'wild-write');
    expect(result.code).toBe(255);
    expect(['panic', 'triple-fault']).toContain(result.exit.kind);
    expect(Date.now() - start).toBeLessThan(50_000);
  });

  test.concurrent('a triple fault', async () => {
    expect(await json('--timeout', '60', '--', 'triple-fault')).toMatchObject({ code: 255, exit: { kind: 'triple-fault' } });
  });

  test.concurrent('a reset that somebody asked for is no triple fault', async () => {
    expect(await json('--timeout', '60', '--', 'reboot')).toMatchObject({ code: 255, exit: { kind: 'reboot' } });
  });

  test.concurrent('a processor that never comes back is ended by --timeout, with its place', async () => {
    const result = await json('--timeout', '4', '--', 'cli');
    expect(result).toMatchObject({ code: 124, exit: { kind: 'timeout', seconds: 4 } });
    expect(result.exit.where).toMatch(/^0x[0-9a-f]+/);
  });
});

/**
 * A machine without some of its devices: the QEMU that is found first leaves out those whose options match, and takes
 * further ones on a QMP socket.
 */
async function machineWithout(
  pattern: string,
): Promise<{ readonly env: Readonly<Record<string, string>>; plug(driver: string, options: object): Promise<void> }> {
  const directory = await mkdtemp(join(work, 'machine-'));
  await writeFile(
    join(directory, 'qemu-system-x86_64'),
    `#!/bin/bash
arguments=()
while [ $# -gt 0 ]; do
  if [ "$1" = -device ] && [[ $2 == ${pattern} ]]; then shift; else arguments+=("$1"); fi
  shift
done
PATH=\${PATH#*:}
exec qemu-system-x86_64 "\${arguments[@]}" -qmp unix:${directory}/qmp,server=on,wait=off
`,
    { mode: 0o755 },
  );
  return {
    env: { NO_COLOR: '1', PATH: `${directory}:${process.env.PATH}` },
    async plug(driver, options) {
      const socket = createConnection(join(directory, 'qmp'));
      expect(await new Qmp(socket).execute('device_add', { driver, ...options })).toEqual({});
      socket.destroy();
    },
  };
}

describe("the guest's init", () => {
  test('says what it could not do, and what to do about it', async () => {
    const { env } = await machineWithout('virtio-blk-device,*');
    const disk = ['--disk', `${join(work, 'gone.img')}:/data`];
    const result = await host(ukl, ['run', image, '--accel', 'tcg', ...disk], env);
    expect(result).toMatchObject({ code: 125, stdout: '' });
    expect(result.stderr).toMatch(/could not be set up: \/data: No such device \(ENODEV\)\n[\s\S]*next: .*--disk FILE:\/data\n/);
    const asked = await host(ukl, ['run', image, '--accel', 'tcg', '--json', ...disk], env);
    expect(JSON.parse(asked.stdout)).toMatchObject({ ok: false, exitCode: 125, exit: { kind: 'guest-setup', message: '/data: No such device (ENODEV)' } });
  });

  test('says that the program could not be started', async () => {
    await mkdir(join(work, 'project'));
    await writeFile(join(work, 'project/app.c'), 'int main(void) { return 0; }\n');
    await writeFile(join(work, 'project/ukl.config.json'), JSON.stringify({ sources: ['app.c'], cwd: '/nowhere' }));
    const result = await host(ukl, ['run', join(work, 'project'), '--accel', 'tcg'], { NO_COLOR: '1' });
    expect(result).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/the program could not be started: No such file or directory \(ENOENT\)\n[\s\S]*next: .*ukl inspect\n/) as string,
    });
  });

  test('names a way to the host that it does not know', async () => {
    const result = await cli('--kernel-arg', 'UKL_TRANSPORT=pigeon', '--', 'exit', '0');
    expect(result).toMatchObject({ code: 125, stdout: '' });
    expect(result.stderr).toMatch(/could not be set up: UKL_TRANSPORT=pigeon: Protocol not supported \(EPROTONOSUPPORT\)\n[\s\S]*next: .*ukl build/);
  });

  test('waits for the host, however slow it is', async () => {
    const machine = await machineWithout('virtserialport,chardev=control,*');
    const child = spawn(ukl, ['run', image, '--accel', 'tcg', '--verbose', '--timeout', '120', '--', 'exit', '3'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...machine.env },
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    let out = '';
    let errors = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    await new Promise<void>((resolve, reject) => {
      child.stderr.on('data', (chunk: Buffer) => {
        errors += chunk.toString();
        if (errors.includes('init: still waiting for port 1 of the host')) resolve();
      });
      child.once('close', () => reject(new Error(errors)));
    });
    await machine.plug('virtserialport', { chardev: 'control', nr: 1, name: 'ukl.control' });
    expect(await ended, errors).toBe(3);
    expect(out).toBe('started\n');
  });
});

/** QEMU processes that were started for our image. */
async function vmms(): Promise<number> {
  let count = 0;
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const cmdline = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (cmdline.startsWith('qemu-system') && cmdline.includes(work)) count++;
  }
  return count;
}

/** Starts the tool and waits until the program in the guest has printed. */
async function started(...args: string[]) {
  const child = spawn(ukl, ['run', image, '--accel', 'tcg', ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  await new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
  return { child, ended, stderr: () => errors };
}

describe('ending the tool', () => {
  test("Ctrl-C is the program's: it dies of SIGINT, and no VMM is left", async () => {
    const { child, ended, stderr } = await started();
    child.kill('SIGINT');
    expect(await ended).toEqual({ code: 130, signal: null });
    expect(stderr()).toMatch(/the program was killed by SIGINT/);
    expect(await vmms()).toBe(0);
  });

  test('a second Ctrl-C ends a guest that ignores the first', async () => {
    const { child, ended } = await started('--', 'deaf');
    child.kill('SIGINT');
    child.kill('SIGTERM');
    // Which of two pending signals comes first is the kernel's choice.
    expect([130, 143]).toContain((await ended).code);
    expect(await vmms()).toBe(0);
  });

  test('kill -9 leaves no VMM', async () => {
    const { child, ended } = await started();
    expect(await vmms()).toBe(1);
    child.kill('SIGKILL');
    await ended;
    // The kernel has sent QEMU its signal; it is gone once it is reaped.
    while ((await vmms()) > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(await vmms()).toBe(0);
  });
});

describe('streams and variables', () => {
  test('standard input reaches the program, and its end', async () => {
    const child = spawn(ukl, ['run', image, '--accel', 'tcg', '--', 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    const text = 'line\n'.repeat(100_000);
    child.stdin.end(text);
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect(code).toBe(0);
    expect(out.length).toBe('started\n'.length + text.length);
    expect(out).toBe(`started\n${text}`);
  });

  test('-e sets a variable', async () => {
    expect((await cli('-e', 'PLANET=earth, third', '--', 'env', 'PLANET')).stdout).toBe('started\nPLANET earth, third\n');
  });
});

describe('bad input', () => {
  const bad = (...args: string[]): Promise<CommandResult> => host(ukl, args, { NO_COLOR: '1' });

  test('a missing file', async () => {
    expect(await bad('run', '/no/such')).toMatchObject({ code: 125, stderr: expect.stringMatching(/\/no\/such does not exist.*UKL_NO_TARGET/) });
  });

  test('programs for other machines', async () => {
    const arm = Buffer.alloc(64);
    arm.write('\x7fELF', 'latin1');
    arm[4] = 2;
    arm[5] = 1;
    arm.writeUInt16LE(183, 18);
    await writeFile(join(work, 'arm'), arm);
    expect(await bad('run', join(work, 'arm'))).toMatchObject({ stderr: expect.stringMatching(/64-bit ARM.*UKL_WRONG_ARCH/) });
    const old = Buffer.from(arm);
    old[4] = 1;
    old.writeUInt16LE(3, 18);
    await writeFile(join(work, 'i386'), old);
    expect(await bad('run', join(work, 'i386'))).toMatchObject({ stderr: expect.stringMatching(/32-bit x86.*UKL_WRONG_ARCH/) });
  });

  test('a missing shared library is named', async () => {
    await writeFile(join(work, 'lib.c'), 'int f(void) { return 1; }');
    await writeFile(join(work, 'needs.c'), 'int f(void); int main(void) { return f(); }');
    await host('gcc', ['-shared', '-fPIC', '-o', join(work, 'libgone.so'), join(work, 'lib.c')]);
    await host('gcc', ['-o', join(work, 'needs'), join(work, 'needs.c'), join(work, 'libgone.so'), '-Wl,-soname,libgone.so']);
    await rm(join(work, 'libgone.so'));
    expect(await bad('run', join(work, 'needs'))).toMatchObject({ code: 125, stderr: expect.stringMatching(/libgone\.so.*UKL_MISSING_LIBRARY/) });
  });

  test("a compile error is told in the compiler's words", async () => {
    await writeFile(join(work, 'broken.c'), 'int main(void) { return undeclared; }\n');
    expect(await bad('run', join(work, 'broken.c'))).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/UKL_COMPILE[\s\S]*broken\.c:1:25: error: 'undeclared' undeclared/),
    });
  });

  test('a taken port names its holder', async () => {
    const port = await freePort();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    const result = await bad('run', image, '-p', `${port}:80`);
    server.close();
    expect(result).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(new RegExp(`port ${port} is taken by .*\\(pid ${process.pid}\\).*UKL_PORT_TAKEN`)),
    });
  });

  test('too little memory says how much', async () => {
    const result = await bad('run', image, '-M', '16M');
    expect(result).toMatchObject({ code: 125, stderr: expect.stringMatching(/need at least \d+ MiB.*UKL_MEMORY/) });
  });

  test('unknown words are errors with a suggestion', async () => {
    expect(await bad('rnu')).toMatchObject({ code: 2, stderr: expect.stringMatching(/Did you mean run/) });
    expect(await bad('run', image, '--memroy', '1G')).toMatchObject({ code: 2, stderr: expect.stringMatching(/Did you mean --memory/) });
    expect(await bad('run', image, '-p', 'x')).toMatchObject({ code: 2, stderr: expect.stringMatching(/HOST:GUEST/) });
  });

  test('errors are JSON for who asked for it', async () => {
    const result = await bad('run', '/no/such', '--json');
    expect(JSON.parse(result.stdout)).toMatchObject({ version: 1, ok: false, error: { code: 'UKL_NO_TARGET' } });
    expect(result.stderr).toBe('');
  });
});
