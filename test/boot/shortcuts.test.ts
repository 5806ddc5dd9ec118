// SPDX-License-Identifier: MIT
/** Shortcuts: calls of a program into code of its own in the kernel, and what is refused. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectRoot } from '../../src/lib/paths.js';
import { build } from '../../src/sdk/index.js';
import { type CommandResult, host, runGuest } from './harness.js';

const probe = join(projectRoot, 'test/fixtures/shortcut');
const example = (name: string): string => join(projectRoot, 'examples', name);

describe('a program with shortcuts', () => {
  test.each([
    { where: 'ring 0', ring: 0, kernel: 'ukl', libc: 'ukl', shortcuts: 1 },
    // Their calls are made by SYSCALL, which knows no shortcuts.
    { where: 'ring 0, with the libc of the host', ring: 0, kernel: 'ukl', libc: 'host', shortcuts: 0 },
    { where: 'ring 3', ring: 3, kernel: 'ukl', libc: 'ukl', shortcuts: 0 },
    { where: 'the stock kernel', ring: 3, kernel: 'stock', libc: 'ukl', shortcuts: 0 },
  ] as const)('has the same results in $where', async ({ ring, kernel, libc, shortcuts }) => {
    const result = await runGuest(probe, { ring, kernel, libc, accel: 'tcg', env: { UKL_RING: String(ring), UKL_SHORTCUTS: String(shortcuts) } });
    expect(result.stdout, `${result.stderr}\n${result.kernelLog.join('\n')}`).toBe(await readFile(join(probe, 'expected.out'), 'utf8'));
    expect(result.end).toEqual({ kind: 'exit', status: 0 });
  });

  test('has the same results on the host', async () => {
    await build(probe, { ring: 3 });
    const result = await host(join(probe, '.ukl/bin/probe'), [], { UKL_RING: '3' });
    expect(result).toMatchObject({ code: 0, stdout: await readFile(join(probe, 'expected.out'), 'utf8'), stderr: '' });
  });
});

describe('the linking of a kernel half', () => {
  let work: string;
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'ukl-shortcuts-'));
    await writeFile(join(work, 'main.c'), '#include <stdio.h>\n#include <ukl.h>\nint main(void) { printf("%ld\\n", ukl_call("mine")); return 0; }\n');
    await writeFile(join(work, 'ukl.config.json'), JSON.stringify({ name: 'mine', sources: ['main.c'], shortcuts: ['mine.c'] }));
  });
  afterAll(() => rm(work, { recursive: true, force: true }));

  const link = async (body: string, licence: string, before = ''): Promise<CommandResult> => {
    await writeFile(
      join(work, 'mine.c'),
      `#include <linux/uio.h>\n#include <linux/skbuff.h>\n#include <ukl.h>\n${before}\nSYSCALL_DEFINE0(mine)\n{\n\t${body}\n}\nUKL_SHORTCUTS(UKL_SHORTCUT(mine));\nMODULE_DESCRIPTION("test");\n${licence === '' ? '' : `MODULE_LICENSE("${licence}");\n`}`,
    );
    return host(join(projectRoot, 'ukl'), ['run', '--accel', 'tcg', work], { NO_COLOR: '1' });
  };
  // kfree_skb_list_reason() is exported to all, import_ubuf() to GPL-compatible modules.
  const OPEN = 'kfree_skb_list_reason(NULL, SKB_DROP_REASON_NOT_SPECIFIED); return 7;';
  const GPL_ONLY = 'struct iov_iter iter; return import_ubuf(ITER_DEST, NULL, 0, &iter) ?: 8;';

  test('refuses a name that the kernel does not have, by name', async () => {
    const { code, stderr } = await link('return no_such_function();', 'GPL', 'long no_such_function(void);');
    expect(stderr).toContain('ukl_mine calls no_such_function, which the kernel does not export');
    expect(code).toBe(125);
  });

  test('refuses a name that the kernel has and does not export', async () => {
    const { code, stderr } = await link('return ksys_write(1, "", 0);', 'GPL', '#include <linux/syscalls.h>');
    expect(stderr).toContain('ukl_mine calls ksys_write, which the kernel does not export');
    expect(code).toBe(125);
  });

  test('refuses a GPL-only name without a compatible licence, by name', async () => {
    const { code, stderr } = await link(GPL_ONLY, 'Proprietary');
    expect(stderr).toContain('ukl_mine calls import_ubuf, which is exported to GPL-compatible modules only');
    expect(code).toBe(125);
  });

  test('refuses one that declares no licence', async () => {
    const { code, stderr } = await link('return 7;', '');
    expect(stderr).toContain('ukl_mine does not say its MODULE_LICENSE()');
    expect(code).toBe(125);
  });

  test.each([
    { what: 'a GPL-only name with a compatible licence', body: GPL_ONLY, licence: 'Dual MIT/GPL', stdout: '8\n' },
    { what: 'what is exported to all with any', body: OPEN, licence: 'Proprietary', stdout: '7\n' },
  ])('takes $what', { timeout: 300_000 }, async ({ body, licence, stdout }) => {
    expect(await link(body, licence)).toMatchObject({ code: 0, stdout });
  });

  test("shows the compiler's words", async () => {
    const { code, stderr } = await link('return not_declared;', 'GPL');
    expect(stderr).toMatch(/could not compile mine\.c[^]*mine\.c:7:.*not_declared.* undeclared/);
    expect(code).toBe(125);
  });
});

describe('the example', () => {
  /** Instructions for an answer of the echo server, its client in ring 3 included. */
  const answers = new Map<string, number>();
  let work: string;
  beforeAll(async () => {
    // The plain server with recv(2) and send(2) in the place of read(2) and write(2).
    work = await mkdtemp(join(tmpdir(), 'ukl-recv-'));
    const source = await readFile(join(example('echo'), 'echo.c'), 'utf8');
    await writeFile(
      join(work, 'echo.c'),
      source
        .replace('read(ends[0], buffer, sizeof(buffer))', 'recv(ends[0], buffer, sizeof(buffer), 0)')
        .replace('write(ends[0], buffer, n)', 'send(ends[0], buffer, n, 0)'),
    );
    await writeFile(
      join(work, 'ukl.config.json'),
      JSON.stringify({
        name: 'recv',
        build: ['$CC -O2 -static -o echo echo.c', `$CC -O2 -static -o client ${join(example('echo'), 'client.c')}`],
        program: 'echo',
        args: ['/app/client'],
        files: ['client:/app/client'],
      }),
    );
  });
  afterAll(() => rm(work, { recursive: true, force: true }));

  test.each([
    { name: 'echo', ring: 0, kernel: 'ukl' },
    { name: 'recv', ring: 0, kernel: 'ukl' },
    { name: 'shortcut', ring: 0, kernel: 'ukl' },
    { name: 'shortcut', ring: 3, kernel: 'ukl' },
    { name: 'echo', ring: 3, kernel: 'stock' },
    { name: 'recv', ring: 3, kernel: 'stock' },
  ] as const)('$name, ring $ring, $kernel kernel', async ({ name, ring, kernel }) => {
    const { stdout, stderr, end } = await runGuest(name === 'recv' ? work : example(name), { ring, kernel, icount: true });
    expect(end, stderr).toEqual({ kind: 'exit', status: 0 });
    const [, count = ''] = /^4000 of 4000 answers are right\n(\d+) for each\n$/.exec(stdout) ?? [];
    expect(count, stdout).not.toBe('');
    answers.set(`${name} ${ring} ${kernel}`, Number(count));
    console.log(`${name}, ring ${ring}, ${kernel}: ${count} instructions an answer`);
  });

  test('is faster with shortcuts', () => {
    expect(answers.get('shortcut 0 ukl')).toBeLessThan(answers.get('recv 0 ukl') ?? 0);
    expect(answers.get('recv 0 ukl')).toBeLessThan(answers.get('echo 0 ukl') ?? 0);
    expect(answers.get('echo 0 ukl')).toBeLessThan(answers.get('echo 3 stock') ?? 0);
  });

  test('changes at most 10 lines', async () => {
    const { stdout } = await host('diff', ['-r', '-x', '.ukl', '-x', 'client.c', example('echo'), example('shortcut')]);
    const changed = stdout.split('\n').filter((line) => line.startsWith('>'));
    console.log(changed.join('\n'));
    expect(changed.length).toBeGreaterThan(0);
    expect(changed.length).toBeLessThanOrEqual(10);
  });

  test('answers on the host', async () => {
    for (const name of ['echo', 'shortcut']) {
      const { stdout, code } = await host(join(example(name), '.ukl/echo'), [join(example(name), '.ukl/client')]);
      expect(stdout).toMatch(/^4000 of 4000 answers are right\n/);
      expect(code).toBe(0);
    }
  });
});
