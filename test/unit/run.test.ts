// SPDX-License-Identifier: MIT
/** What a run does around its guest: states, what a VMM is asked for, QMP, exit statuses, logs. */
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { imageContainer } from '../../src/containers/index.js';
import { projectRoot } from '../../src/lib/paths.js';
import { EXIT, statusOfError, statusOfSignal } from '../../src/model/exit-status.js';
import { Life } from '../../src/run/life.js';
import { checkSupport, type Needs } from '../../src/run/support.js';
import { pruneLogs } from '../../src/store/logs.js';
import { vmms } from '../../src/vmms/index.js';
import { Qmp } from '../../src/vmms/qemu/qmp.js';

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-run-test-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

describe("a guest's life", () => {
  test('from its creation to its end', () => {
    const life = new Life();
    expect(life.state).toBe('created');
    life.enter('booting', 'boot');
    life.started();
    expect(life.state).toBe('running');
    life.enter('paused', 'pause');
    life.resumed();
    expect(life.state).toBe('running');
    life.ended();
    expect(life.state).toBe('ended');
  });
  test('a program that starts while the machine is being paused runs afterwards', () => {
    const life = new Life();
    life.enter('booting', 'boot');
    life.enter('paused', 'pause');
    life.started();
    expect(life.state).toBe('paused');
    life.resumed();
    expect(life.state).toBe('running');
  });
  test('what cannot follow is refused, with the state', () => {
    const life = new Life();
    expect(() => life.enter('paused', 'pause')).toThrow('cannot pause: the guest is created');
    expect(() => life.resumed()).toThrow('cannot resume: the guest is created');
    expect(life.state).toBe('created');
    life.ended();
    expect(() => life.enter('paused', 'pause')).toThrow('cannot pause: the guest has ended');
    expect(() => life.resumed()).toThrow('cannot resume: the guest has ended');
  });
});

describe('what a VMM does not support is refused by name', () => {
  const poor = {
    ...vmms.get('qemu'),
    title: 'a poor VMM',
    supports: {
      boot: ['pvh'],
      machines: { microvm: ['none'] },
      transports: ['virtio-serial'],
      nics: [],
      disks: false,
      attached: false,
      shares: false,
      gdb: false,
      icount: false,
      plugins: false,
      snapshots: false,
    },
  } as const;
  const nothing: Needs = {
    container: imageContainer('elf'),
    options: {},
    transport: 'virtio-serial',
    machine: 'microvm',
    firmware: 'none',
    small: false,
    disks: 0,
    volumes: 0,
    ports: 0,
    nets: ['user'],
  };
  test.each([
    [{ container: imageContainer('bzImage') }, 'a poor VMM cannot start a bzImage image'],
    [{ machine: 'q35' as const, firmware: 'bios' as const }, 'a poor VMM cannot be a q35'],
    [{ options: { gdb: true } }, 'a poor VMM cannot wait for gdb'],
    [{ options: { icount: true } }, 'a poor VMM cannot count instructions'],
    [{ disks: 1 }, 'a poor VMM cannot tell the guest of a disk'],
    [{ volumes: 1 }, 'a poor VMM cannot share a directory'],
    [{ ports: 1 }, 'a poor VMM cannot forward a port'],
    [{ nets: ['tap' as const] }, 'a poor VMM cannot connect the guest to a tap network'],
  ])('%j', (needs, message) => {
    expect(() => checkSupport(poor, { ...nothing, ...needs })).toThrow(message);
    expect(() => checkSupport(vmms.get('qemu'), { ...nothing, ...needs })).not.toThrow();
  });
  test('no network', () => expect(() => checkSupport(poor, { ...nothing, nets: [] })).not.toThrow());
  test('nothing', () => expect(() => checkSupport(poor, nothing)).not.toThrow());
  test('an entry that does not exist is named with those that do', () => {
    expect(() => vmms.get('xen' as 'qemu')).toThrow("there is no VMM 'xen'");
  });
});

describe('QMP', () => {
  /** A QEMU that answers each command with what `answer` says. */
  async function talk(answer: (command: string) => string): Promise<{ readonly qmp: Qmp; readonly close: () => void }> {
    const path = join(work, `qmp-${Math.random().toString(36).slice(2)}`);
    const server = createServer((socket: Socket) => {
      socket.write('{"QMP": {"version": {}, "capabilities": []}}\r\n');
      socket.on('data', (chunk: Buffer) => {
        for (const line of chunk.toString().trim().split('\n')) {
          const { execute } = JSON.parse(line) as { execute: string };
          if (execute === 'quit') socket.destroy();
          else socket.write(`${execute === 'qmp_capabilities' ? '{"return": {}}' : answer(execute)}\r\n`);
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const socket = connect(path);
    return {
      qmp: new Qmp(socket),
      close: () => {
        socket.destroy();
        server.close();
      },
    };
  }

  test('a refusal is an error with its reason', async () => {
    const { qmp, close } = await talk(() => '{"error": {"class": "GenericError", "desc": "Resetting the Virtual Machine is required"}}');
    await expect(qmp.resume()).rejects.toMatchObject({ code: 'UKL_VMM', message: "QEMU refused 'cont': Resetting the Virtual Machine is required" });
    close();
  });
  test('events in between are no answers', async () => {
    const { qmp, close } = await talk(() => '{"event": "STOP", "timestamp": {}}\r\n{"return": {}}');
    await qmp.pause();
    close();
  });
  test("KVM's exits are those of all processors; emulation has none, an old QEMU does not know", async () => {
    const each = (value: number): string => `{"provider": "kvm", "qom-path": "/machine/unattached/device[0]", "stats": [{"name": "exits", "value": ${value}}]}`;
    for (const [answer, is] of [
      [`{"return": [${each(2 ** 40)}, ${each(3)}]}`, 2 ** 40 + 3],
      ['{"return": []}', undefined],
      ['{"error": {"class": "CommandNotFound", "desc": "The command query-stats has not been found"}}', undefined],
    ] as const) {
      const { qmp, close } = await talk((command) => (command === 'query-stats' ? answer : '{"return": {}}'));
      expect(await qmp.exits()).toBe(is);
      close();
    }
  });
  test('a QEMU that ends leaves nobody waiting', async () => {
    const { qmp, close } = await talk(() => '{"return": {}}');
    await expect(qmp.execute('quit')).rejects.toMatchObject({ code: 'UKL_VMM' });
    await expect(qmp.pause()).rejects.toMatchObject({ code: 'UKL_VMM' });
    close();
  });
});

describe('exit statuses', () => {
  test.each([
    ['run', 'UKL_COMPILE', EXIT.beforeRun],
    ['run', 'UKL_PORT_TAKEN', EXIT.beforeRun],
    ['dev', 'UKL_NO_TARGET', EXIT.beforeRun],
    ['build', 'UKL_COMPILE', EXIT.failed],
    ['run', 'UKL_USAGE', EXIT.usage],
    ['build', 'UKL_CONFIG', EXIT.usage],
  ] as const)('%s: %s', (verb, code, status) => expect(statusOfError(verb, code)).toBe(status));
  test('of signals', () => expect(['SIGINT', 'SIGTERM', 'SIGHUP'].map(statusOfSignal)).toEqual([130, 143, 129]));
  test('each is in docs/exit-codes.md', async () => {
    const text = await readFile(join(projectRoot, 'docs/exit-codes.md'), 'utf8');
    for (const status of [EXIT.ok, EXIT.usage, EXIT.timeout, EXIT.beforeRun, EXIT.lost]) expect(text).toMatch(new RegExp(`^\\| ${status} `, 'm'));
  });
});

test('of many logs of runs, the oldest are removed; others stay', async () => {
  const logs = await mkdtemp(join(work, 'logs-'));
  for (let index = 0; index < 205; index++) {
    const path = join(logs, `run-${index}.log`);
    await writeFile(path, '');
    await utimes(path, index, index);
  }
  await writeFile(join(logs, 'kernel.log'), '');
  await pruneLogs(logs);
  const left = await readdir(logs);
  expect(left).toContain('kernel.log');
  expect(left).toContain('run-204.log');
  expect(left).not.toContain('run-0.log');
  expect(left.length).toBeLessThan(150);
});
