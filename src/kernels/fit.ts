// SPDX-License-Identifier: MIT
/**
 * What a kernel can be built with or without, and which programs need it. The
 * profile "fit" is "hello" with the features that a program is found to need.
 */
import { UklError } from '../lib/errors.js';
import type { KernelProfile } from '../model/index.js';
import { isSmall } from '../model/kernel.js';

export interface Feature {
  readonly name: string;
  readonly title: string;
  /** Options of Kconfig, all of them needed. */
  readonly options: readonly string[];
  /** A program that makes one of these system calls, or calls a function of that name, needs the feature. */
  readonly calls: readonly string[];
  /** Other features that it stands on. */
  readonly needs?: readonly string[];
}

/** Found by other means than the program's calls. */
const BY_MACHINE: readonly Feature[] = [
  { name: 'smp', title: 'several processors', options: ['CONFIG_SMP=y', 'CONFIG_NR_CPUS=64'], calls: [] },
  { name: 'virtio', title: 'virtio devices', options: ['CONFIG_VIRTIO_MENU=y', 'CONFIG_VIRTIO_MMIO=y', 'CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y'], calls: [] },
  {
    name: 'init',
    title: 'what our init needs: streams and signals from the host',
    options: ['CONFIG_VIRTIO_CONSOLE=y', 'CONFIG_SIGNALFD=y', 'CONFIG_UNIX98_PTYS=y', 'CONFIG_SYSFS=y', 'CONFIG_SHMEM=y', 'CONFIG_TMPFS=y'],
    calls: [],
    needs: ['virtio', 'proc', 'devtmpfs', 'net'],
  },
  {
    name: 'disk',
    title: 'disks with ext4',
    options: ['CONFIG_BLOCK=y', 'CONFIG_BLK_DEV=y', 'CONFIG_VIRTIO_BLK=y', 'CONFIG_EXT4_FS=y'],
    calls: [],
    needs: ['virtio'],
  },
  {
    name: 'volume',
    title: 'directories of the host (9p)',
    options: ['CONFIG_NETWORK_FILESYSTEMS=y', 'CONFIG_NET_9P=y', 'CONFIG_NET_9P_VIRTIO=y', 'CONFIG_9P_FS=y'],
    calls: [],
    needs: ['virtio', 'net'],
  },
  { name: 'script', title: 'scripts with #!', options: ['CONFIG_BINFMT_SCRIPT=y'], calls: [] },
];

const BY_CALLS: readonly Feature[] = [
  {
    name: 'net',
    title: 'TCP, UDP and UNIX sockets over IPv4',
    options: [
      'CONFIG_NET=y',
      'CONFIG_UNIX=y',
      'CONFIG_INET=y',
      'CONFIG_IP_PNP=y',
      'CONFIG_IP_PNP_DHCP=y',
      'CONFIG_NETDEVICES=y',
      'CONFIG_NET_CORE=y',
      'CONFIG_VIRTIO_NET=y',
      'CONFIG_PTP_1588_CLOCK=n',
    ],
    calls: [
      'socket',
      'socketpair',
      'connect',
      'accept',
      'accept4',
      'bind',
      'listen',
      'sendmsg',
      'recvmsg',
      'sendto',
      'recvfrom',
      'getaddrinfo',
      'gethostbyname',
    ],
    needs: ['virtio'],
  },
  { name: 'ipv6', title: 'IPv6', options: ['CONFIG_IPV6=y'], calls: [], needs: ['net'] },
  { name: 'packet', title: 'raw packets (tcpdump)', options: ['CONFIG_PACKET=y'], calls: [], needs: ['net'] },
  { name: 'proc', title: '/proc and its sysctls', options: ['CONFIG_PROC_FS=y', 'CONFIG_PROC_SYSCTL=y'], calls: [] },
  { name: 'devtmpfs', title: '/dev as the kernel fills it', options: ['CONFIG_DEVTMPFS=y'], calls: ['posix_openpt', 'openpty', 'forkpty'] },
  { name: 'sysfs', title: '/sys', options: ['CONFIG_SYSFS=y'], calls: [] },
  {
    name: 'epoll',
    title: 'epoll',
    options: ['CONFIG_EPOLL=y'],
    calls: ['epoll_create', 'epoll_create1', 'epoll_ctl', 'epoll_wait', 'epoll_pwait', 'epoll_pwait2'],
  },
  { name: 'signalfd', title: 'signalfd', options: ['CONFIG_SIGNALFD=y'], calls: ['signalfd', 'signalfd4'] },
  { name: 'timerfd', title: 'timerfd', options: ['CONFIG_TIMERFD=y'], calls: ['timerfd_create', 'timerfd_settime', 'timerfd_gettime'] },
  { name: 'eventfd', title: 'eventfd', options: ['CONFIG_EVENTFD=y'], calls: ['eventfd', 'eventfd2'] },
  {
    name: 'timers',
    title: 'interval timers, alarm() and POSIX timers',
    options: ['CONFIG_POSIX_TIMERS=y'],
    calls: [
      'alarm',
      'setitimer',
      'getitimer',
      'ualarm',
      'timer_create',
      'timer_settime',
      'timer_gettime',
      'timer_getoverrun',
      'timer_delete',
      'clock_adjtime',
      'adjtimex',
    ],
  },
  {
    name: 'aio',
    title: 'asynchronous I/O',
    options: ['CONFIG_AIO=y'],
    calls: ['io_setup', 'io_submit', 'io_getevents', 'io_pgetevents', 'io_destroy', 'io_cancel'],
  },
  { name: 'io-uring', title: 'io_uring', options: ['CONFIG_IO_URING=y'], calls: ['io_uring_setup', 'io_uring_enter', 'io_uring_register'] },
  {
    name: 'sysvipc',
    title: 'System V shared memory, semaphores and messages',
    options: ['CONFIG_SYSVIPC=y'],
    calls: ['shmget', 'shmat', 'shmdt', 'shmctl', 'semget', 'semop', 'semtimedop', 'semctl', 'msgget', 'msgsnd', 'msgrcv', 'msgctl'],
  },
  {
    name: 'mqueue',
    title: 'POSIX message queues',
    options: ['CONFIG_POSIX_MQUEUE=y'],
    calls: ['mq_open', 'mq_unlink', 'mq_timedsend', 'mq_timedreceive', 'mq_notify', 'mq_getsetattr'],
    needs: ['net'],
  },
  { name: 'inotify', title: 'inotify', options: ['CONFIG_INOTIFY_USER=y'], calls: ['inotify_init', 'inotify_init1', 'inotify_add_watch'] },
  { name: 'fanotify', title: 'fanotify', options: ['CONFIG_FANOTIFY=y'], calls: ['fanotify_init', 'fanotify_mark'] },
  { name: 'locks', title: 'locks of files', options: ['CONFIG_FILE_LOCKING=y'], calls: ['flock', 'lockf', 'fcntl', 'fcntl64'] },
  {
    name: 'advice',
    title: 'madvise and fadvise',
    options: ['CONFIG_ADVISE_SYSCALLS=y'],
    calls: ['madvise', 'posix_madvise', 'fadvise64', 'posix_fadvise', 'process_madvise'],
  },
  { name: 'tmpfs', title: 'tmpfs and shared memory', options: ['CONFIG_SHMEM=y', 'CONFIG_TMPFS=y'], calls: ['memfd_create', 'shm_open', 'sem_open'] },
  { name: 'memfd', title: 'memfd_create', options: ['CONFIG_MEMFD_CREATE=y'], calls: ['memfd_create'], needs: ['tmpfs'] },
  { name: 'membarrier', title: 'membarrier', options: ['CONFIG_MEMBARRIER=y'], calls: ['membarrier'] },
  { name: 'userfaultfd', title: 'userfaultfd', options: ['CONFIG_USERFAULTFD=y'], calls: ['userfaultfd'] },
  { name: 'seccomp', title: 'seccomp', options: ['CONFIG_SECCOMP=y', 'CONFIG_SECCOMP_FILTER=y'], calls: ['seccomp'], needs: ['net'] },
  { name: 'vm-access', title: "other processes' memory", options: ['CONFIG_CROSS_MEMORY_ATTACH=y'], calls: ['process_vm_readv', 'process_vm_writev'] },
  { name: 'handles', title: 'file handles', options: ['CONFIG_FHANDLE=y'], calls: ['name_to_handle_at', 'open_by_handle_at'] },
  { name: 'ptys', title: 'pseudo terminals', options: ['CONFIG_UNIX98_PTYS=y'], calls: ['posix_openpt', 'openpty', 'forkpty', 'getpt'], needs: ['devtmpfs'] },
  { name: 'namespaces', title: 'namespaces', options: ['CONFIG_NAMESPACES=y'], calls: ['unshare', 'setns'] },
  { name: 'rseq', title: 'restartable sequences', options: ['CONFIG_RSEQ=y'], calls: [] },
];

export const FEATURES: readonly Feature[] = [...BY_MACHINE, ...BY_CALLS];

/** What a program is found to need, and why. */
export interface Need {
  readonly feature: string;
  readonly why: string;
}

/** The features for names of calls: those that need them, with the first call that does. */
export function needsOfCalls(names: ReadonlySet<string>): Need[] {
  return BY_CALLS.flatMap(({ name, calls }) => {
    const call = calls.find((one) => names.has(one));
    return call === undefined ? [] : [{ feature: name, why: `${call}()` }];
  });
}

/** The feature that a system call needs; undefined if it is in every kernel, or in none. */
export const featureOfCall = (call: string): string | undefined => BY_CALLS.find(({ calls }) => calls.includes(call))?.name;

/** What a user asks for by name: features, or system calls. Throws UKL_CONFIG. */
export function needsOfWords(words: readonly string[]): Need[] {
  return words.map((word) => {
    const feature = FEATURES.find(({ name }) => name === word)?.name ?? featureOfCall(word);
    if (feature === undefined) {
      throw new UklError('UKL_CONFIG', `needs: no feature of the kernel has the name '${word}', and no system call that can be left out`, {
        hint: FEATURES.map(({ name }) => name).join(', '),
      });
    }
    return { feature, why: 'asked for' };
  });
}

/** Whether a kernel has a feature: all of them unless it is small, and those that it was fitted with. */
export const hasFeature = (profile: KernelProfile, fit: { readonly has: readonly Need[] } | undefined, feature: string): boolean =>
  !isSmall(profile) || fit?.has.some((need) => need.feature === feature) === true;

export interface Fit {
  /** Lines of a .config. */
  readonly options: readonly string[];
  readonly has: readonly Need[];
  readonly leftOut: readonly string[];
}

/** Adds up needs, with what they stand on. */
export function fitKernel(needs: readonly Need[]): Fit {
  const has = new Map<string, Need>();
  const add = (need: Need): void => {
    if (has.has(need.feature)) return;
    has.set(need.feature, need);
    for (const below of FEATURES.find(({ name }) => name === need.feature)?.needs ?? []) add({ feature: below, why: `for ${need.feature}` });
  };
  for (const need of needs) add(need);
  return {
    options: [...new Set(FEATURES.filter(({ name }) => has.has(name)).flatMap(({ options }) => options))],
    has: [...has.values()],
    leftOut: FEATURES.filter(({ name }) => !has.has(name)).map(({ name }) => name),
  };
}
