// SPDX-License-Identifier: MIT
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig, parseConfig } from '../../src/config/load.js';
import { parseData } from '../../src/devices/data.js';
import { parseDisk } from '../../src/devices/disk.js';
import { parsePort } from '../../src/devices/ports.js';
import { checkVolume, parseVolume } from '../../src/devices/volume.js';
import { findFault, findPanic, findSetupFailure, reportsOutOfMemory, reportsReboot, setupFailure } from '../../src/guest/diagnose.js';
import { missingOptions } from '../../src/kernels/kconfig.js';
import { shellQuote } from '../../src/lib/shell.js';
import { statusOfEnd } from '../../src/model/exit-status.js';
import { hostTscKhz } from '../../src/run/cmdline.js';
import { qemuArgs } from '../../src/vmms/qemu/args.js';
import { defaultCpu, parseCpuModels } from '../../src/vmms/qemu/cpu.js';

describe('what the kernel says', () => {
  test('a segmentation fault', () => {
    expect(
      findFault(['x', 'app[37]: segfault at 8 ip 0000000000401825 sp 00007ffc error 6 in app[1825,401000+86000] likely on CPU 0 (core 0, socket 0)']),
    ).toMatchObject({
      address: '0x8',
      ip: '0x401825',
      object: 'app',
      fileOffset: 0x1825,
    });
  });
  test('a trap', () => {
    expect(findFault(['traps: app[37] general protection fault ip:401825 sp:7ffc error:0 in app[1825,401000+86000]'])).toMatchObject({
      ip: '0x401825',
      fileOffset: 0x1825,
    });
  });
  test('a jump to nowhere has no object', () => {
    const fault = findFault(['app[37]: segfault at 0 ip 0000000000000000 sp 00007ffc error 14 likely on CPU 0']);
    expect(fault).toMatchObject({ address: '0x0', ip: '0x0' });
    expect(fault).not.toHaveProperty('object');
  });
  test('nothing', () => expect(findFault(['all is well'])).toBeUndefined());
  test('a panic, with the oops that led to it', () => {
    expect(findPanic('[    1.0] BUG: unable to handle page fault for address: ffff\r\n[    1.1] Kernel panic - not syncing: Fatal exception\r\n')).toBe(
      'Fatal exception (BUG: unable to handle page fault for address: ffff)',
    );
    expect(findPanic('[    1.0] hello')).toBeUndefined();
  });
  test('a restart, which a triple fault does not announce', () => {
    expect(reportsReboot('[    2.471333] reboot: Restarting system\r\n')).toBe(true);
    expect(reportsReboot('[    2.471333] reboot: Power down\r\n')).toBe(true);
    expect(reportsReboot('[    0.206885] PCI: Fatal: No config space access function found\r\n')).toBe(false);
  });
  test('out of memory', () => expect(reportsOutOfMemory(['Out of memory: Killed process 39 (app)'])).toBe(true));
});

test.each([
  [{ kind: 'exit', status: 3 }, 3],
  [{ kind: 'signal', signal: 11 }, 139],
  [{ kind: 'timeout', seconds: 1 }, 124],
  [{ kind: 'interrupted', signal: 'SIGINT' }, 130],
  [{ kind: 'panic', message: '' }, 255],
  [{ kind: 'triple-fault' }, 255],
  [{ kind: 'vmm', message: '' }, 255],
  [{ kind: 'reboot' }, 255],
  [{ kind: 'guest-setup', message: '', hint: '' }, 125],
] as const)('exit status of %j', (end, code) => expect(statusOfEnd(end)).toBe(code));

describe('what init could not do', () => {
  test.each([
    ['/data: No such device (errno 19)', '/data: No such device (ENODEV)', /--disk FILE:\/data/],
    ['/a: b (errno 1): Structure needs cleaning (errno 117)', '/a: b (errno 1): Structure needs cleaning', /--verbose/],
    ['exec: No such file or directory (errno 2)', 'the program could not be started: No such file or directory (ENOENT)', /ukl inspect/],
    ['exec: Exec format error (errno 8)', 'the program could not be started: Exec format error (ENOEXEC)', /interpreter/],
    ['spec: Argument list too long (errno 7)', 'spec: Argument list too long (E2BIG)', /shorter arguments/],
  ])('%s', (text, message, hint) => {
    expect(setupFailure(text)).toEqual({ kind: 'guest-setup', message, hint: expect.stringMatching(hint) as string });
  });
  test('is found on the console, where it did not come as far as the control line', () => {
    const log = '[    0.2] PCI: Fatal\r\ninit: /dev/vport1p1: Device or resource busy (errno 16)\r\n[    2.4] reboot: Restarting system\r\n';
    expect(findSetupFailure(log)).toMatchObject({ message: '/dev/vport1p1: Device or resource busy (EBUSY)' });
    expect(findSetupFailure('init: still waiting for port 1 of the host\r\n')).toBeUndefined();
  });
});

describe('words of the command line', () => {
  test('ports', () => {
    expect(parsePort('8080:80')).toEqual({ address: '127.0.0.1', host: 8080, guest: 80, protocol: 'tcp' });
    expect(parsePort('53:5353/udp')).toEqual({ address: '127.0.0.1', host: 53, guest: 5353, protocol: 'udp' });
    expect(parsePort('0.0.0.0:8080:80')).toMatchObject({ address: '0.0.0.0', host: 8080 });
    expect(parsePort('[::1]:8080:80')).toMatchObject({ address: '[::1]', host: 8080 });
    for (const bad of ['80', '80:', '1:0', '1:65536', 'a:b']) expect(() => parsePort(bad)).toThrow(/expected a port/);
  });
  test('disks', () => {
    expect(parseDisk('a.img:/data', '/work')).toEqual({ file: '/work/a.img', path: '/data' });
    for (const bad of ['a.img', ':/x', 'a:data', 'a:/']) expect(() => parseDisk(bad)).toThrow(/expected a disk/);
  });
  test('volumes', async () => {
    expect(parseVolume('data:/data', '/work')).toEqual({ directory: '/work/data', path: '/data' });
    for (const bad of ['data', ':/x', 'a:data', 'a:/']) expect(() => parseVolume(bad)).toThrow(/expected a volume/);
    await expect(checkVolume(parseVolume('/no/such:/data'))).rejects.toMatchObject({ code: 'UKL_VOLUME', message: '/no/such does not exist' });
    await expect(checkVolume(parseVolume('/etc/passwd:/data'))).rejects.toThrow('/etc/passwd is not a directory');
    await checkVolume(parseVolume('/etc:/data'));
  });
  test('data of other machines', () => {
    const nfs = { source: '192.0.2.1:/export/a', path: '/data', remote: { type: 'nfs4', options: 'vers=4.2,addr=192.0.2.1' } };
    expect(parseData('192.0.2.1:/export/a:/data')).toEqual(nfs);
    expect(parseData('192.0.2.1:/export/a:/data:nfs')).toEqual(nfs);
    expect(parseData('[2001:db8::1]:/:/data:nfs,vers=4.1,ro').remote?.options).toBe('addr=2001:db8::1,vers=4.1,ro');
    expect(parseData('//192.0.2.1/share/deep:/data:cifs,user=a,pass=b')).toEqual({
      source: '//192.0.2.1/share/deep',
      path: '/data',
      remote: { type: 'cifs', options: 'vers=3.0,ip=192.0.2.1,user=a,pass=b' },
    });
    expect(parseData('tag:/data:9p,cache=mmap').remote).toEqual({ type: '9p', options: 'trans=virtio,version=9p2000.L,cache=mmap' });
    expect(parseData('tag:/data:virtiofs')).toEqual({ source: 'tag', path: '/data', remote: { type: 'virtiofs', options: '' } });
    expect(() => parseData('server:/export:/data')).toThrow("'server' is no address");
    expect(() => parseData('//server/share:/data')).toThrow("'server' is no address");
    for (const bad of [
      '192.0.2.1:/export',
      '192.0.2.1:/export:data',
      '//192.0.2.1:/data',
      'tag:/data',
      'tag:/data:nfs',
      'tag:/data:9p,',
      '[::1]:/x:/y:nfs,a:b',
    ])
      expect(() => parseData(bad), bad).toThrow(/expected data/);
  });
  test('data on disks', () => {
    expect(parseData('LABEL=db:/db:ext4')).toEqual({ source: 'LABEL=db', path: '/db', make: 'ext4' });
    expect(parseData('/dev/sda:/db')).toEqual({ source: '/dev/sda', path: '/db' });
    expect(() => parseData('LABEL=longer-than-xfs:/db:xfs')).toThrow('at most 12 bytes');
    expect(() => parseData('UUID=00000000-0000-0000-0000-000000000000:/db:xfs')).toThrow('cannot be made');
  });
  test('quoting', () => expect(['a', 'a b', "it's", ''].map(shellQuote)).toEqual(['a', "'a b'", `'it'\\''s'`, "''"]));
});

test('a machine that was saved has its memory to itself, and waits for its state', () => {
  const args = qemuArgs(
    {
      payload: { boot: 'pvh', kernel: '/k', cmdline: '' },
      ...{
        type: 'microvm',
        firmware: 'none',
        nicModel: 'virtio',
        memoryMiB: 64,
        cpus: 1,
        cpu: 'max',
        accel: 'tcg',
        nics: [],
        disks: [],
        attached: [],
        shares: [],
      },
      ...{ devices: [], legacy: true, console: 'serial', transport: 'virtio-serial', icount: false },
      saved: '/m,1',
    },
    '/d',
  ).join(' ');
  expect(args).toContain('-object memory-backend-file,id=memory,size=64M,share=off,mem-path=/m,,1');
  expect(args).toContain('-incoming defer -S');
});

test("QEMU's command line", () => {
  const args = qemuArgs(
    {
      payload: { boot: 'linux', kernel: '/k', cmdline: 'quiet ukl=/app' },
      type: 'microvm',
      firmware: 'none',
      nicModel: 'virtio',
      memoryMiB: 64,
      cpus: 2,
      cpu: 'max',
      accel: 'tcg',
      nics: [{ kind: 'user', ports: [{ address: '127.0.0.1', host: 8080, guest: 80, protocol: 'tcp' }], nth: 0 }],
      disks: [{ file: '/a,b.img', path: '/d', serial: 'ukl0' }],
      attached: [],
      shares: [{ directory: '/a,b', path: '/v', tag: 'ukl0' }],
      legacy: true,
      devices: ['rng'],
      console: 'serial',
      transport: 'virtio-serial',
      icount: false,
    },
    '/s',
  );
  expect(args.join('\n')).toMatchSnapshot();
});

test('models of processors', () => {
  expect(
    parseCpuModels(
      'Available CPUs:\nx86 486                   (alias configured by machine type)\nx86 EPYC-v1               AMD EPYC Processor\n\nRecognized CPUID flags:\n  3dnow abm\n',
    ),
  ).toEqual(['486', 'EPYC-v1']);
  expect([defaultCpu('tcg'), defaultCpu('kvm')]).toEqual(['max', 'host']);
});

describe('configuration', () => {
  test('defaults', () => expect(parseConfig({ sources: ['a.c'] }, 'x')).toMatchObject({ cpus: 1, runtime: 'node@24' }));
  test.each([
    [{}, /one of 'program', 'sources', 'entry' and 'image'/],
    [{ program: 'a', sources: ['b'] }, /one of 'program', 'sources', 'entry' and 'image'/],
    [{ program: 'a', memroy: '1G' }, /memroy/],
    [{ program: 'a', ports: ['80'] }, /HOST:GUEST/],
    [{ program: 'a', ring: 1 }, /ring/],
  ])('%j is refused', (value, pattern) => {
    expect(() => parseConfig(value, 'ukl.config.json')).toThrow(expect.objectContaining({ code: 'UKL_CONFIG', details: expect.stringMatching(pattern) }));
  });
});

test('options that Kconfig dropped', () => {
  expect(missingOptions('CONFIG_A=y\n# x\nCONFIG_B=y\nCONFIG_C=n\nCONFIG_D=n\n', '\nCONFIG_A=y\nCONFIG_D=y\n')).toEqual(['CONFIG_B=y', 'CONFIG_D=n']);
  // The last line that names an option decides; both ways to turn one off.
  expect(missingOptions('CONFIG_A=y\nCONFIG_B=y\n# CONFIG_A is not set\n# CONFIG_B is not set\nCONFIG_B=y', '# CONFIG_A is not set\n')).toEqual(['CONFIG_B=y']);
});

test("the host's TSC", () => {
  expect(hostTscKhz('flags : fpu constant_tsc\nbogomips\t: 5200.00\n')).toBe(2_600_000);
  expect(hostTscKhz('flags : fpu\nbogomips\t: 5200.00\n')).toBeUndefined();
});

describe('ukl.config.ts', () => {
  test("is loaded from any directory, with 'ukl' and with files of its own", async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ukl-config-'));
    try {
      await writeFile(join(directory, 'name.ts'), "export const name: string = 'from-a-file';\n");
      // No package.json: Node.js would take it for CommonJS.
      await writeFile(
        join(directory, 'ukl.config.ts'),
        "import { defineConfig } from 'ukl';\nimport { name } from './name.ts';\nexport default defineConfig({ name, sources: [`${import.meta.dirname}/a.c`] });\n",
      );
      expect(await loadConfig(directory)).toMatchObject({ name: 'from-a-file', sources: [join(directory, 'a.c')], cpus: 1 });
      expect((await readdir(directory)).sort()).toEqual(['name.ts', 'ukl.config.ts']);
      await writeFile(join(directory, 'ukl.config.ts'), 'export default {');
      await expect(loadConfig(directory)).rejects.toMatchObject({
        code: 'UKL_CONFIG',
        message: expect.stringMatching(/could not load .*end of file/s) as string,
      });
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
