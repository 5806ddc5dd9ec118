// SPDX-License-Identifier: MIT
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { callSites } from '../../src/elf/calls.js';

test('sites that are calls, sites that trap, and numbers that nobody can tell', async () => {
  const work = await mkdtemp(join(tmpdir(), 'ukl-calls-'));
  try {
    await writeFile(
      join(work, 'sites.S'),
      `.globl entry
.type called, @function
called:	mov $39, %eax
	lea 1f(%rip), %rcx
	jmp *entry(%rip)
	syscall
1:	ret
.type zero, @function
zero:	xor %eax, %eax
	syscall
	ret
.type any, @function
any:	mov %rdi, %rax
	mov %rsi, %rdi
	syscall
	ret
.type near, @function
near:	lea 1f(%rip), %rcx
	mov $110, %eax
	syscall
1:	ret
.section .note.GNU-stack, "", @progbits
`,
    );
    await promisify(execFile)('gcc', ['-c', '-o', join(work, 'sites.o'), join(work, 'sites.S')]);
    expect(await callSites(join(work, 'sites.o'))).toEqual({ calls: 1, raw: ['zero', 'any', 'near'], names: ['getpid', 'getppid', 'read'], unknown: 1 });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
});
