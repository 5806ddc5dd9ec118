// SPDX-License-Identifier: MIT
/**
 * What a build does when it is interrupted, when two run at once, when the disk
 * is full and when it may not install packages: with a kernel tree of two steps.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { type CommandResult, host, ukl } from '../boot/harness.js';

let work: string;
let store: string;
let args: string[];
let env: Record<string, string>;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-toolchain-'));
  store = join(work, 'store');
  env = { UKL_STORE: store, TINY_KERNEL: work, NO_COLOR: '1' };
  const tarball = join(work, 'linux-6.12.0.tar');
  await host('tar', ['-C', join(projectRoot, 'test/fixtures'), '-cf', tarball, 'tiny-kernel']);
  await host('mkfifo', [join(work, 'reached'), join(work, 'gate')]);
  args = ['build', join(projectRoot, 'examples/hello'), '--kernel', 'stock', '--libc', 'host', '--kernel-source', tarball, '-o', join(work, 'image')];
});
afterEach(() => rm(work, { recursive: true, force: true }));

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  /** Settles once standard error has the pattern. */
  readonly says: (pattern: RegExp) => Promise<void>;
}

function startBuild(): Running {
  const child = spawn(ukl, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  child.stderr?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    child.emit('said');
  });
  const says = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(text)) {
      await Promise.race([
        new Promise((resolve) => child.once('said', resolve)),
        ended.then((code) => Promise.reject(new Error(`ended with ${code}: ${text}`))),
      ]);
    }
  };
  return { child, ended, says };
}

/** Waits until the build has come to its second step. */
const reached = (): Promise<CommandResult> => host('cat', [join(work, 'reached')]);
const letGo = (): Promise<CommandResult> => host('sh', ['-c', 'echo second > "$0"', join(work, 'gate')]);
const steps = async (): Promise<string[]> => (await readFile(join(work, 'steps'), 'utf8')).trim().split('\n');
const kernels = async (): Promise<string[]> => (await readdir(store)).filter((name) => name.startsWith('kernel-'));

describe('a kernel build', () => {
  test('that is interrupted leaves no kernel, and the next one resumes', { timeout: 60_000 }, async () => {
    const first = startBuild();
    await reached();
    first.child.kill('SIGINT');
    expect(await first.ended).toBe(130);
    expect(await kernels()).toEqual([]);

    const second = startBuild();
    await reached();
    await letGo();
    expect(await second.ended).toBe(0);
    expect(await kernels()).toHaveLength(1);
    expect(await steps()).toEqual(['first', 'second', 'second']);
    expect((await readFile(join(work, 'image'))).subarray(1024).toString('latin1')).toMatch(/^first\nsecond\n/);
  });

  test('that is killed is not disturbed by the next, which waits for its compilers', { timeout: 60_000 }, async () => {
    const first = startBuild();
    await reached();
    first.child.kill('SIGKILL');
    await first.ended;
    expect(await kernels()).toEqual([]);

    const second = startBuild();
    await second.says(/build Linux 6\.12/);
    await letGo();
    expect(await second.ended).toBe(0);
    expect(await steps()).toEqual(['first', 'second']);
  });

  test('waits while another makes the same one, and then uses it', { timeout: 60_000 }, async () => {
    const first = startBuild();
    await reached();
    const second = startBuild();
    await second.says(/waiting: another ukl is at work/);
    await letGo();
    expect([await first.ended, await second.ended]).toEqual([0, 0]);
    expect(await steps()).toEqual(['first', 'second']);
  });
});

describe('options of the kernel', () => {
  const buildWith = async (options: string): Promise<CommandResult> => {
    await writeFile(join(work, 'kernel.config'), options);
    return host(ukl, [...args, '--kernel-config', join(work, 'kernel.config')], env);
  };

  test('make a kernel of their own, once', { timeout: 60_000 }, async () => {
    // Nobody has to be waited for.
    await host('sh', ['-c', 'cd "$0" && rm reached gate && touch gate', work]);
    expect(await buildWith('CONFIG_XFS_FS=y\n')).toMatchObject({ code: 0 });
    expect(await buildWith('# CONFIG_IPV6 is not set\n')).toMatchObject({ code: 0 });
    expect(await buildWith('CONFIG_XFS_FS=y\n')).toMatchObject({ code: 0 });
    expect(await steps()).toEqual(['first', 'second', 'first', 'second']);
    const configs = await Promise.all((await kernels()).map((name) => readFile(join(store, name, 'config'), 'utf8')));
    expect(configs.filter((config) => config.includes('\nCONFIG_XFS_FS=y\n'))).toHaveLength(1);
  });

  test.each([
    ['that Kconfig does not take', 'CONFIG_DEPENDS_ON_NOTHING=y\n', /Kconfig did not take: CONFIG_DEPENDS_ON_NOTHING=y[\s\S]*UKL_KERNEL_CONFIG/],
    ['for a module', 'CONFIG_XFS_FS=m\n', /asks for CONFIG_XFS_FS=m[\s\S]*next: CONFIG_XFS_FS=y/],
    ['that are none', 'XFS_FS=y\n', /sets no option[\s\S]*next: lines like CONFIG_XFS_FS=y/],
  ])('%s are refused', { timeout: 60_000 }, async (_what, options, words) => {
    expect(await buildWith(options)).toMatchObject({ code: 1, stderr: expect.stringMatching(words) });
    expect(await kernels().catch(() => [])).toEqual([]);
  });

  test('in a file that is missing are refused', { timeout: 60_000 }, async () => {
    expect(await host(ukl, [...args, '--kernel-config', join(work, 'none')], env)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/cannot be read: .*none[\s\S]*UKL_NO_FILE/),
    });
  });
});

/** The tool in a mount name space of its own, which `prepare` has changed. */
const inNamespace = (prepare: string, ...command: string[]): Promise<CommandResult> =>
  host('unshare', ['-m', 'sh', '-ec', `${prepare}\nexec "$@"`, 'sh', ...command], env);

// Mounts need root; who is not has no way to make these situations.
describe.skipIf(process.getuid?.() !== 0)('a machine that', () => {
  test('has no space left says so, and keeps nothing half made', { timeout: 60_000 }, async () => {
    await mkdir(store);
    await host('sh', ['-c', 'cd "$0" && rm reached gate && head -c 1M /dev/zero > gate', work]);
    const result = await inNamespace(`mount -t tmpfs -o size=256k none ${store}`, ukl, ...args);
    expect(result).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/no space left[\s\S]*UKL_DISK_FULL[\s\S]*next: free some space where the result goes[^\n]*UKL_STORE/),
    });
    expect(await host('ls', [join(work, 'image')])).toMatchObject({ code: 2 });
  });

  test('lacks a package, without root, stops before any work and says what to type', { timeout: 60_000 }, async () => {
    const result = await inNamespace(
      `mount --bind /mnt /usr/src; mkdir ${work}/home; chmod 777 ${work} ${work}/home; export HOME=${work}/home`,
      'setpriv',
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      ukl,
      ...args,
    );
    expect(result).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /packages are missing: linux-source-6\.12[\s\S]*UKL_PACKAGES[\s\S]*next: sudo apt-get install -y --no-install-recommends linux-source-6\.12/,
      ),
    });
    expect(await host('ls', [store])).toMatchObject({ code: 2 });
  });

  test('lacks a package: doctor tells which, why, and the mend', { timeout: 60_000 }, async () => {
    const result = await inNamespace('mount --bind /mnt /usr/src', ukl, 'doctor');
    expect(result.code).toBe(1);
    expect(result.stdout).toMatch(
      /✖ linux-source-6\.12 +missing\n +the kernel that the series is applied to\n +fix: sudo apt-get install -y --no-install-recommends linux-source-6\.12\n/,
    );
    expect(result.stdout).toMatch(/✔ gcc +\d/);
    const json = JSON.parse((await inNamespace('mount --bind /mnt /usr/src', ukl, 'doctor', '--json')).stdout) as {
      ok: boolean;
      probes: { name: string; ok: boolean; why: string }[];
    };
    expect(json.ok).toBe(false);
    expect(json.probes.filter((probe) => !probe.ok && probe.name !== 'kvm').map((probe) => probe.name)).toEqual(['linux-source-6.12', 'glibc-source']);
    expect(json.probes.every((probe) => probe.why.length > 0)).toBe(true);
  });
});
