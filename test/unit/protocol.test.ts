// SPDX-License-Identifier: MIT
/** The two halves of the guest's protocol, TypeScript's and C's, each against the other. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { setupFailure } from '../../src/guest/diagnose.js';
import {
  decodeGuestLine,
  encodeExec,
  encodeGo,
  encodeGreeting,
  encodeKmsg,
  encodeProc,
  encodeResume,
  encodeSave,
  encodeSignal,
  encodeTime,
  MAX_LINE,
} from '../../src/guest/protocol.js';
import { encodeInstance, encodeSpec, type GuestSpec } from '../../src/guest/spec.js';
import { LineSplitter } from '../../src/lib/lines.js';
import { projectRoot } from '../../src/lib/paths.js';

describe('lines', () => {
  const split = (text: string, size: number, maximum?: number): string[] => {
    const splitter = new LineSplitter(maximum);
    const bytes = Buffer.from(text);
    const lines: string[] = [];
    for (let at = 0; at < bytes.length; at += size) lines.push(...splitter.push(bytes.subarray(at, at + size)));
    return lines;
  };
  test.each([1, 2, 3, 5, 100])('in chunks of %i bytes', (size) => {
    expect(split('Grüße\n\n→ 🦀 ←\nno end', size)).toEqual(['Grüße', '', '→ 🦀 ←']);
  });
  test.each([1, 3, 100])('no longer than they may be, in chunks of %i bytes', (size) => {
    expect(split('abcd\nabcde\nabcdefghij\nx\n', size, 4)).toEqual(['abcd', 'abcd', 'abcd', 'x']);
  });
  test('of a guest that never ends one take no more memory than that', () => {
    const splitter = new LineSplitter(8);
    for (let count = 0; count < 1000; count++) expect(splitter.push(Buffer.alloc(1 << 16, 'a'))).toEqual([]);
    expect(splitter.push(Buffer.from('\nb\n'))).toEqual(['aaaaaaaa', 'b']);
  });
  test('that are not UTF-8 are lines all the same', () => {
    expect(new LineSplitter().push(Buffer.from([0xff, 0x0a, 0xc3, 0x0a]))).toEqual(['\ufffd', '\ufffd']);
  });
});

describe("the guest's lines", () => {
  test.each([
    ['start', { type: 'start' }],
    ['exit 0', { type: 'exit', status: 0 }],
    ['exit 255', { type: 'exit', status: 255 }],
    ['signal 64', { type: 'signal', signal: 64 }],
    ['fail /data: No such device (errno 19)', { type: 'fail', text: '/data: No such device (errno 19)' }],
    ['kmsg  two blanks', { type: 'kmsg', text: ' two blanks' }],
    ['line ', { type: 'line', text: '' }],
    ['end', { type: 'end' }],
    ['clock', { type: 'clock' }],
    ['timed', { type: 'timed' }],
    ['ready', { type: 'ready' }],
    ['held', { type: 'held' }],
  ])('%j', (line, message) => expect(decodeGuestLine(line)).toEqual(message));

  test('of no form that is known', () => {
    const lines = [
      ...['', ' ', 'Start', 'start now', 'end ', 'kmsg', 'line', 'toString', '__proto__ 1'],
      ...['', ' ', ' 256', ' -1', ' 1e2', ' 0x1', ' 1 ', '  1', ' NaN', ' ١', ` ${'9'.repeat(400)}`].map((number) => `exit${number}`),
      ...['signal 0', 'signal 65', 'signal SIGKILL'],
      `line ${'a'.repeat(MAX_LINE)}`,
    ];
    for (const line of lines) expect(decodeGuestLine(line)).toEqual({ type: 'unknown', line });
  });

  test('that are too long are cut, and not taken for what they begin with', () => {
    const splitter = new LineSplitter(MAX_LINE + 1);
    const messages = splitter.push(Buffer.from(`kmsg ${'a'.repeat(2 * MAX_LINE)}\nexit 3\n`)).map(decodeGuestLine);
    expect(messages.map(({ type }) => type)).toEqual(['unknown', 'exit']);
  });
});

test('names of files that no line can hold', () => {
  for (const name of ['', 'maps\nsignal 9', 'a\0b', 'ü'.repeat(121)]) expect(() => encodeProc(name)).toThrow(expect.objectContaining({ code: 'UKL_USAGE' }));
});

const SPEC: GuestSpec = {
  exec: '/usr/bin/größe',
  argv: ['app', '', 'two\nlines', '-x'],
  hostname: 'h',
  fixed: 2,
  networks: [{ addresses: ['10.0.2.15/24', '2001:db8::2/64'], gateways: ['10.0.2.2'], dns: ['10.0.2.3', '1.1.1.1', '8.8.8.8', '9.9.9.9'] }],
  ntp: ['192.0.2.1', '2001:db8::1'],
  clock: true,
  disks: [{ serial: 'ukl0', path: '/data' }],
  volumes: [{ tag: 'ukl0', path: '/a:b' }],
  data: [
    { source: 'LABEL=db', path: '/db', make: 'xfs' },
    { source: '/dev/sda', path: '/old' },
    { source: '[2001:db8::1]:/export', path: '/far', remote: { type: 'nfs4', options: 'vers=4.2,addr=2001:db8::1' } },
  ],
  run: { env: { A: 'b=c', PATH: '/p', HOME: '/' }, cwd: '/tmp', watchdogSeconds: 30, user: { uid: 999, gid: 99, groups: [4, 100] } },
  ring: 0,
};

test('a word of the spec cannot end early', () => {
  expect(() => encodeSpec({ ...SPEC, argv: ['a\0exec\0/other'] })).toThrow(expect.objectContaining({ code: 'UKL_USAGE' }));
});

describe("init's half", () => {
  let work: string;
  let driver: string;
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'ukl-protocol-'));
    driver = join(work, 'driver');
    const init = join(projectRoot, 'guest/init');
    const sources = [join(projectRoot, 'test/fixtures/protocol.c'), join(init, 'protocol.c')];
    execFileSync('gcc', [
      '-g',
      '-O1',
      '-Wall',
      '-Wextra',
      '-Werror',
      '-fsanitize=address,undefined',
      '-fno-sanitize-recover',
      '-I',
      init,
      '-o',
      driver,
      ...sources,
    ]);
  });
  afterAll(() => rm(work, { recursive: true, force: true }));

  /** What init makes of what the host says, after the greeting and the spec of `spec`. */
  const decode = (spec: GuestSpec | Buffer, ...said: string[]): string[] => {
    const words = Buffer.isBuffer(spec) ? spec : encodeGreeting(encodeSpec(spec));
    const output = execFileSync(driver, ['decode'], { input: Buffer.concat([words, ...said.map((text) => Buffer.from(text))]), encoding: 'utf8' });
    return output.split('\0').slice(0, -1);
  };
  const raw = (words: string, length = Buffer.byteLength(words)): Buffer => Buffer.from(`\n${length}\n${words}`);

  test('has the words of the spec', () => {
    expect(decode(SPEC)).toEqual([
      'exec /usr/bin/größe',
      'cwd /tmp',
      'host h',
      'arg app',
      'arg ',
      'arg two\nlines',
      'arg -x',
      'env PATH=/p',
      'env HOME=/',
      'env A=b=c',
      'clock ',
      'watchdog 30',
      'user 999 99 4 100',
      'ring0 ',
      'fixed 2',
      'interface eth0',
      'address 10.0.2.15/24',
      'address 2001:db8::2/64',
      'gateway 10.0.2.2',
      'dns 10.0.2.3',
      'dns 1.1.1.1',
      'dns 8.8.8.8',
      'ntp 192.0.2.1',
      'ntp 2001:db8::1',
      'disk ukl0',
      'on /data',
      'volume ukl0',
      'on /a:b',
      'data LABEL=db',
      'on /db',
      'make xfs',
      'data /dev/sda',
      'on /old',
      'make ',
      'remote [2001:db8::1]:/export',
      'on /far',
      'type nfs4',
      'options vers=4.2,addr=2001:db8::1',
    ]);
  });
  const NOTHING = { addresses: [], gateways: [], dns: [] };
  test.each([
    [[], []],
    [[{ ...NOTHING, dhcp: true }], ['interface eth0', 'dhcp ']],
    [[{ ...NOTHING, interface: 'eth1', addresses: ['192.0.2.1/32'] }], ['interface eth1', 'address 192.0.2.1/32']],
    [
      [
        { ...NOTHING, interface: 'eth0', mac: '52:54:00:00:00:01', dhcp: true, ipv6: true },
        { ...NOTHING, interface: 'eth1', mac: '52:54:00:00:00:02', addresses: ['2001:db8::2/64'], gateways: ['2001:db8::1'] },
      ],
      ['interface eth0', 'mac 52:54:00:00:00:01', 'dhcp ', 'ipv6 ', 'interface eth1', 'mac 52:54:00:00:00:02', 'address 2001:db8::2/64', 'gateway 2001:db8::1'],
    ],
  ])('has the network %j', (networks, words) => {
    const lines = decode({ ...SPEC, networks });
    expect(lines.filter((line) => /^(dhcp|ipv6|mac|interface|address|gateway|dns)\b/.test(line))).toEqual(words);
  });
  test('leaves a word that it does not know', () => {
    expect(decode(raw('colour\0green\0exec\0/app\0'))).toEqual(['exec /app', 'cwd /']);
  });
  test.each([
    ['a key without a value', raw('exec\0')],
    ['a word without an end', raw('exec\0/app')],
    ['a disk without a path', raw('disk\0ukl0\0')],
    ['a watchdog that is no number', raw('watchdog\0-1\0')],
    ['data without a type', raw('data\0LABEL=x:/x\0')],
    ['something remote without a source', raw('remote\0nfs4:/x\0')],
    ['options of nothing', raw('options\0ro\0')],
  ])('refuses %s', (_, words) => expect(decode(words)).toEqual(['refused Invalid argument']));
  test.each([
    ['more than there is room for', raw('', 99_999)],
    ['too many disks', raw('disk\0a:b\0'.repeat(33))],
    ['too many interfaces', raw('interface\0eth0\0'.repeat(9))],
    ['too many addresses', raw('address\0fe80::1/64\0'.repeat(9))],
    ['too many gateways', raw('gateway\0fe80::1\0'.repeat(17))],
  ])('refuses %s', (_, words) => expect(decode(words)).toEqual(['refused Argument list too long']));
  test.each([
    ['no length', Buffer.from('\nlength\n')],
    ['a negative length', Buffer.from('\n-1\n')],
    ['a length that is none', Buffer.from(`\n${'9'.repeat(60)}\n`)],
    ['a spec that ends early', raw('exec\0', 50)],
  ])('refuses %s', (_, words) => expect(decode(words)).toEqual(['refused Protocol error']));

  test("has the host's messages", () => {
    const said = [
      encodeSignal(15),
      encodeKmsg(),
      encodeProc('net/tcp'),
      encodeProc('ü'.repeat(120)),
      encodeTime(1_790_000_000_123),
      encodeSave(),
      encodeGo(),
      encodeExec(7),
    ];
    expect(decode(SPEC, ...said).slice(-8)).toEqual([
      ...['signal 15', 'kmsg ', 'proc net/tcp', `proc ${'ü'.repeat(120)}`, 'time 1790000000123000000', 'save ', 'go ', 'session 7'],
    ]);
  });
  test('knows how many words a guest that was saved goes on with, and the words', () => {
    const words = encodeInstance({ hostname: 'h', args: ['a'], env: { A: 'b\nc' } });
    expect(
      decode(
        SPEC,
        encodeResume(words)
          .subarray(0, encodeResume(words).indexOf('\n') + 1)
          .toString(),
      ).at(-1),
    ).toBe(`resume ${words.length}`);
    const [, , name, arg, variable, seed, time, ...rest] = decode(encodeGreeting(words));
    expect([name, arg, variable, ...rest]).toEqual(['host h', 'arg a', 'env A=b\nc']);
    expect(seed).toMatch(/^seed [\da-f]{128}$/);
    expect(seed).not.toBe(decode(encodeGreeting(encodeInstance({}))).find((line) => line.startsWith('seed ')));
    expect(Number(time?.slice('time '.length)) / 1e6).toBeGreaterThan(Date.now() - 60_000);
  });
  test('knows what it does not know', () => {
    const said = [
      '',
      'kmsg ',
      'look maps',
      'signal',
      'signal -9',
      'signal x',
      'resume',
      'resume x',
      'save now',
      `signal ${'9'.repeat(19)}`,
      `proc ${'a'.repeat(300)}`,
    ];
    expect(decode(SPEC, ...said.map((line) => `${line}\n`), encodeKmsg()).slice(-said.length - 1)).toEqual([...said.map(() => 'unknown '), 'kmsg ']);
  });

  test('says what the tool decodes', () => {
    const output = execFileSync(driver, ['encode']);
    const messages = new LineSplitter().push(output).map(decodeGuestLine);
    expect(messages).toEqual([
      { type: 'start' },
      { type: 'exit', status: 0 },
      { type: 'exit', status: 255 },
      { type: 'signal', signal: 11 },
      { type: 'fail', text: '/data: No such device (errno 19)' },
      { type: 'kmsg', text: 'app[37]: segfault at 8' },
      { type: 'kmsg', text: '' },
      { type: 'clock' },
      { type: 'timed' },
      { type: 'line', text: '  sl  local_address' },
      { type: 'line', text: '' },
      { type: 'end' },
      { type: 'ready' },
      { type: 'held' },
    ]);
    const failure = messages.find((message) => message.type === 'fail');
    expect(setupFailure(failure?.type === 'fail' ? failure.text : '').message).toBe('/data: No such device (ENODEV)');
  });
});
