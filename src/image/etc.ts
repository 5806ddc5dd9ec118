// SPDX-License-Identifier: MIT
/** The files of /etc that a C library reads: the same in each image, whatever the host has. */
import type { GuestFile } from '../model/index.js';

/** The accounts that every Debian system has, with their fixed numbers (package base-passwd): name, uid, gid, home, shell. */
const USERS: readonly (readonly [name: string, uid: number, gid: number, home: string, shell: string])[] = [
  ['root', 0, 0, '/root', '/bin/bash'],
  ['daemon', 1, 1, '/usr/sbin', '/usr/sbin/nologin'],
  ['bin', 2, 2, '/bin', '/usr/sbin/nologin'],
  ['sys', 3, 3, '/dev', '/usr/sbin/nologin'],
  ['man', 6, 12, '/var/cache/man', '/usr/sbin/nologin'],
  ['lp', 7, 7, '/var/spool/lpd', '/usr/sbin/nologin'],
  ['mail', 8, 8, '/var/mail', '/usr/sbin/nologin'],
  ['news', 9, 9, '/var/spool/news', '/usr/sbin/nologin'],
  ['uucp', 10, 10, '/var/spool/uucp', '/usr/sbin/nologin'],
  ['proxy', 13, 13, '/bin', '/usr/sbin/nologin'],
  ['www-data', 33, 33, '/var/www', '/usr/sbin/nologin'],
  ['backup', 34, 34, '/var/backups', '/usr/sbin/nologin'],
  ['list', 38, 38, '/var/list', '/usr/sbin/nologin'],
  ['nobody', 65534, 65534, '/nonexistent', '/usr/sbin/nologin'],
];

const GROUPS: readonly (readonly [name: string, gid: number])[] = [
  ...([
    ['root', 0],
    ['daemon', 1],
    ['bin', 2],
    ['sys', 3],
    ['adm', 4],
    ['tty', 5],
    ['disk', 6],
    ['lp', 7],
    ['mail', 8],
    ['news', 9],
  ] as const),
  ...([
    ['uucp', 10],
    ['man', 12],
    ['proxy', 13],
    ['kmem', 15],
    ['dialout', 20],
    ['www-data', 33],
    ['backup', 34],
    ['list', 38],
  ] as const),
  ...([
    ['shadow', 42],
    ['utmp', 43],
    ['video', 44],
    ['staff', 50],
    ['users', 100],
    ['nogroup', 65534],
  ] as const),
];

const text = (guest: string, lines: readonly string[]): GuestFile => ({
  guest,
  kind: 'data',
  data: Buffer.from(lines.map((line) => `${line}\n`).join('')),
  mode: 0o644,
});

/** A program that needs other accounts brings its own files: `files: ['passwd:/etc/passwd']`. */
export const ETC: readonly GuestFile[] = [
  text(
    '/etc/passwd',
    USERS.map(([name, uid, gid, home, shell]) => `${name}:x:${uid}:${gid}:${name}:${home}:${shell}`),
  ),
  text(
    '/etc/group',
    GROUPS.map(([name, gid]) => `${name}:x:${gid}:`),
  ),
  text('/etc/nsswitch.conf', ['passwd: files', 'group: files', 'hosts: files dns']),
  text('/etc/hosts', ['127.0.0.1 localhost', '::1 localhost']),
];
