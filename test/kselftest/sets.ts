// SPDX-License-Identifier: MIT

/** One of kselftest's directories. */
export interface TestSet {
  readonly name: string;
  /** Below tools/testing/selftests; where it is built, too. */
  readonly directory: string;
  /** Further words for make. */
  readonly make: readonly string[];
  /** Further directories and files of the kernel's source that it includes. */
  readonly sources?: readonly string[];
  /** Commands in place of the names that its makefile calls tests. */
  readonly commands?: Readonly<Record<string, readonly string[]>>;
  /** Seconds that a test may take, where it needs many in emulation. */
  readonly limits?: Readonly<Record<string, number>>;
  /** Tests that are left out, and why. */
  readonly leftOut?: Readonly<Record<string, string>>;
  /** Programs of the host that tests start: in ring 0 as well. */
  readonly helpers?: readonly string[];
}

/** Of rseq's script: rounds and threads, where it has 1000 and six a processor: 192 runs of a test, in emulation. */
const RSEQ_ROUNDS = ['-r', '20', '-t', '4'];

const TOO_LONG = 'a benchmark, with loops for the speed of a real processor; the script runs the same test';

/** As futex's script calls its tests; by themselves, so that one that waits for ever costs no other. */
const FUTEX_COMMANDS = Object.fromEntries(
  [
    ...[
      '',
      ' -b',
      ' -b -l',
      ' -b -o',
      ' -l',
      ' -o',
      ' -b -l -t 5000',
      ' -l -t 5000',
      ' -b -l -t 500000',
      ' -l -t 500000',
      ' -b -t 5000',
      ' -t 5000',
      ' -b -t 500000',
      ' -t 500000',
      ' -b -o -t 5000',
      ' -b -o -t 500000',
      ' -b -l -t 2000000000',
      ' -l -t 2000000000',
    ].map((options) => `futex_requeue_pi${options}`),
    ...[
      'requeue_pi_mismatched_ops',
      'requeue_pi_signal_restart',
      'wait_timeout',
      'wait_wouldblock',
      'wait_uninitialized_heap',
      'wait_private_mapped_file',
      'wait',
      'requeue',
      'waitv',
    ].map((name) => `futex_${name}`),
  ].map((command) => [command, `./${command}`.split(' ')]),
);

export const SETS: readonly TestSet[] = [
  {
    name: 'x86',
    directory: 'x86',
    // Two of the 64-bit tests are made only where 32-bit programs can be: they make 32-bit system calls.
    make: ['all_64', 'CAN_BUILD_I386=1'],
    sources: ['arch/x86/include/asm', 'tools/arch/x86'],
    // Millions of system calls, most of them traced.
    limits: { syscall_numbering_64: 3600 },
  },
  // vmaccess execs "true" under ptrace.
  { name: 'ptrace', directory: 'ptrace', make: [], helpers: ['/usr/bin/true'] },
  { name: 'seccomp', directory: 'seccomp', make: [], limits: { seccomp_benchmark: 600 }, sources: ['tools/testing/selftests/clone3'] },
  { name: 'sigaltstack', directory: 'sigaltstack', make: [] },
  { name: 'timers', directory: 'timers', make: [], limits: { 'set-timer-lat': 400, 'inconsistency-check': 400, raw_skew: 400, threadtest: 400 } },
  {
    name: 'futex',
    directory: 'futex/functional',
    sources: ['tools/testing/selftests/futex/include'],
    make: [],
    commands: FUTEX_COMMANDS,
  },
  {
    name: 'rseq',
    directory: 'rseq',
    make: [],
    limits: { basic_percpu_ops_test: 600, basic_percpu_ops_mm_cid_test: 600, 'run_param_test.sh': 3600 },
    commands: {
      basic_test: ['./basic_test'],
      basic_percpu_ops_test: ['./basic_percpu_ops_test'],
      basic_percpu_ops_mm_cid_test: ['./basic_percpu_ops_mm_cid_test'],
      'run_param_test.sh': ['/usr/bin/bash', './run_param_test.sh', ...RSEQ_ROUNDS],
    },
    leftOut: { param_test_benchmark: TOO_LONG, param_test_mm_cid_benchmark: TOO_LONG },
  },
  { name: 'membarrier', directory: 'membarrier', make: [] },
  { name: 'syscall_user_dispatch', directory: 'syscall_user_dispatch', make: [] },
];
