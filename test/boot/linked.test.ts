// SPDX-License-Identifier: MIT
/** ukl-gcc and ukl-g++ are gcc and g++ to whoever builds with them. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { callSites } from '../../src/elf/calls.js';
import { readElf } from '../../src/elf/elf.js';
import { silentLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { getCompiler } from '../../src/libc/compiler.js';
import type { Libc } from '../../src/model/index.js';
import { host, runGuest, ukl } from './harness.js';

const run = promisify(execFile);
let work: string;
let libc: Libc;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'ukl-linked-'));
  libc = await getCompiler('complete', { log: silentLog });
  await writeFile(
    join(work, 'app.cc'),
    `#include <cmath>
#include <dlfcn.h>
#include <future>
#include <iostream>
#include <stdexcept>
#include <thread>
#include <vector>
static thread_local int mine;
int main() {
  std::vector<std::future<double>> all;
  for (int i = 0; i < 8; i++)
    all.push_back(std::async(std::launch::async, [i] {
      mine = i;
      std::this_thread::yield();
      if (mine == 5) throw std::runtime_error("five");
      return std::sqrt(double(mine));
    }));
  for (auto &one : all)
    try { std::cout << one.get() << '\\n'; } catch (const std::exception &error) { std::cout << error.what() << '\\n'; }
  unsigned short cs;
  asm("mov %%cs, %0" : "=r"(cs));
  std::cerr << "ring " << (cs & 3) << '\\n';
  return dlsym(RTLD_DEFAULT, "no such name") != nullptr;
}
`,
  );
});
afterAll(() => rm(work, { recursive: true, force: true }));

const EXPECTED = '0\n1\n1.41421\n1.73205\n2\nfive\n2.44949\n2.64575\n';

describe.each([
  ['static', ['-static']],
  ['static-pie', ['-static-pie']],
  ['dynamic', []],
  ['no-pie', ['-no-pie']],
] as const)('C++ with threads and exceptions, %s', (kind, options) => {
  test('runs on the host, at ring 0 and at ring 3, marked as ours', async () => {
    const program = join(work, kind);
    await run(join(libc.bin, 'ukl-g++'), ['-O2', '-pthread', ...options, '-o', program, join(work, 'app.cc'), '-lm', '-ldl']);
    expect((await readElf(program)).marked).toBe(true);
    expect(await host(program, [])).toMatchObject({ code: 0, stdout: EXPECTED, stderr: 'ring 3\n' });
    for (const ring of [0, 3] as const) {
      const { end, stdout, stderr } = await runGuest(program, { ring, cpus: 2, accel: 'tcg' });
      expect({ end, stdout, stderr }).toEqual({ end: { kind: 'exit', status: 0 }, stdout: EXPECTED, stderr: `ring ${ring}\n` });
    }
  });
});

/** Where glibc's Makefile of ours leaves the instruction: the kernel needs all registers there. */
const INSTRUCTIONS = /^(__restore_rt|_Fork|_exit|execve|(__GI_)?___?clone3|__clone3?|__vfork|(__libc|___?|)_?sigaction)$/;

test('every system call of libc.so.6, ld.so and a static program goes through the entry, but for those that need all registers', async () => {
  for (const file of ['libc.so.6', 'ld-linux-x86-64.so.2']) {
    const sites = await callSites(join(libc.lib, file));
    console.log(`${file}: ${sites.calls} of ${sites.calls + sites.raw.length} sites`);
    for (const name of sites.raw) expect(name).toMatch(INSTRUCTIONS);
    expect(sites.calls).toBeGreaterThan(30);
  }
  const ours = await callSites(join(libc.lib, 'libc.so.6'));
  const debian = await callSites('/lib/x86_64-linux-gnu/libc.so.6');
  expect(ours.raw).toHaveLength(12);
  expect(debian.raw.length).toBe(ours.calls + ours.raw.length);
  const built = await host(ukl, ['build', join(projectRoot, 'examples/memcached')]);
  expect(built.code, built.stderr).toBe(0);
  const { stdout } = await host(ukl, ['inspect', '--calls', '--json', join(projectRoot, 'examples/memcached')]);
  const { elf } = JSON.parse(stdout) as { elf: { path: string; calls: { calls: number; raw: string[]; names: string[] } }[] };
  expect(elf[0]?.path).toBe('/app/memcached');
  for (const name of elf[0]?.calls.raw ?? ['no ELF']) expect(name).toMatch(INSTRUCTIONS);
  expect(elf[0]?.calls.names).toEqual(expect.arrayContaining(['epoll_wait', 'sendmsg', 'read']));
});

test("the subtree adds at most 150 lines and changes no file of glibc's", async () => {
  const { stdout } = await host('sh', ['-c', 'find "$0" -type f', join(projectRoot, 'glibc')]);
  const files = stdout.trim().split('\n');
  let lines = 0;
  for (const file of files) lines += (await readFile(file, 'utf8')).split('\n').length - 1;
  console.log(`glibc: ${lines} lines`);
  expect(lines).toBeLessThanOrEqual(150);
  const { stdout: listing } = await host('tar', ['tf', '/usr/src/glibc/glibc-2.36.tar.xz']);
  const theirs = new Set(listing.split('\n'));
  for (const file of files) expect(theirs).not.toContain(`glibc-2.36/${file.slice(join(projectRoot, 'glibc/').length)}`);
});

test('a Makefile finds a compiler that behaves as gcc', async () => {
  await writeFile(join(work, 'hello.c'), '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n');
  await writeFile(join(work, 'Makefile'), 'hello: hello.o\n\t$(CC) -o $@ $^\n');
  const { stdout: cc } = await host(ukl, ['cc', '--print']);
  expect(cc).toBe(`${join(libc.bin, 'ukl-gcc')}\n`);
  expect(await host('make', ['-s', '-C', work, `CC=${cc.trim()}`, 'hello'])).toMatchObject({ code: 0, stderr: '' });
  expect(await host(join(work, 'hello'), [])).toMatchObject({ stdout: 'hello\n' });
  expect((await host(cc.trim(), ['-c', '-o', '/dev/null', join(work, 'hello.c')])).stderr).toBe('');
  expect((await host(cc.trim(), ['--version'])).stdout).toBe((await host('gcc', ['--version'])).stdout);
  const broken = await host(ukl, ['cc', '--', '-c', '-o', '/dev/null', join(work, 'missing.c')]);
  expect(broken.code).toBe(1);
});
