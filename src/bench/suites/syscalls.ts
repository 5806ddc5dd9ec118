// SPDX-License-Identifier: MIT
import { join } from 'node:path';
import { projectRoot } from '../../lib/paths.js';
import type { Suite } from '../suite.js';

/** Names as benchmarks/syscalls.c prints them. */
const OPERATIONS: Readonly<Record<string, string>> = {
  null: 'getppid()',
  clock: 'clock_gettime(), vDSO',
  'read-1': 'pread(), 1 byte',
  'read-64k': 'pread(), 64 KiB',
  'write-1': 'pwrite(), 1 byte',
  'write-64k': 'pwrite(), 64 KiB',
  'send-recv': 'send() and recv(), 64 bytes over TCP',
  select: 'select(), 1 pipe',
  'poll-10': 'poll(), 10 pipes',
  epoll: 'epoll_wait()',
  'mmap-munmap': 'mmap() and munmap(), 64 KiB',
  'faults-heap-64': '64 page faults, heap',
  'faults-stack-64': '64 page faults, stack of a thread',
  thread: 'thread, made and joined',
  fork: 'fork(), exit and wait',
  signal: 'signal to itself, handled',
  'futex-wake': 'futex(), nobody to wake',
  'switch-2': 'a byte to a process and back',
  tick: 'timer interrupt',
};

/** The list of LEBench (Ren et al., SOSP 2019), with our own code. */
export const syscalls: Suite = {
  name: 'syscalls',
  title: 'Services of the kernel',
  packages: [],
  metrics: Object.entries(OPERATIONS).map(([name, title]) => ({ name, title, unit: 'instructions', better: 'less', clock: 'instructions' })),
  workloads: [
    {
      clock: 'instructions',
      target: { name: 'syscalls', sources: [join(projectRoot, 'benchmarks/syscalls.c')] },
      parse: (stdout) =>
        Object.fromEntries(
          stdout
            .trim()
            .split('\n')
            .map((line) => line.split(' '))
            .map(([name = '', count]) => [name, Number(count)]),
        ),
    },
  ],
};
