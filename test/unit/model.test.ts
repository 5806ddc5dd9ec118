// SPDX-License-Identifier: MIT
import { expect, test } from 'vitest';
import { since } from '../../src/bench/counter.js';
import { httpAnswer, upTo } from '../../src/bench/load.js';
import { cyclesOf, MODELS } from '../../src/bench/model.js';

test('the model adds what the counts say', () => {
  const costs = { cpi: 2, crossing: 100, exit: 1000, exitToVmm: 3000 };
  expect(cyclesOf({ instructions: 10, syscall: 2, kick: 1, interrupt: 3, timer: 1, halt: 2 }, costs)).toBe(20 + 200 + 3000 + 8000);
  // Page-table isolation costs more for each way into the kernel, and nothing where there is none.
  const [plain, pti] = [MODELS.plain, MODELS.pti].map((one) => one && cyclesOf({ instructions: 10, syscall: 0 }, one));
  expect(plain).toBe(pti);
});

test('counts are differences by name', () => expect(since({ a: 1 }, { a: 4, b: 2 })).toEqual({ a: 3, b: 2 }));

test('an answer ends where its protocol says', () => {
  expect(upTo('END\r\n')(Buffer.from('VALUE key 0 3\r\nxyz\r\nEND\r\nEN'))).toBe(25);
  expect(upTo('END\r\n')(Buffer.from('VALUE key'))).toBeUndefined();
  const whole = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello';
  expect(httpAnswer(Buffer.from(`${whole}HTTP`))).toBe(whole.length);
  expect(httpAnswer(Buffer.from(whole.slice(0, -1)))).toBeUndefined();
  expect(() => httpAnswer(Buffer.from('HTTP/1.1 200 OK\r\n\r\n'))).toThrow('has no length');
});
