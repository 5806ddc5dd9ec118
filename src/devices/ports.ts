// SPDX-License-Identifier: MIT

import { createSocket } from 'node:dgram';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { createServer, isIPv6 } from 'node:net';
import { errnoOf, UklError } from '../lib/errors.js';
import type { PortForward } from '../model/index.js';

/** An address of this host, as it stands before a port: IPv4, or IPv6 in brackets. */
const ADDRESS = String.raw`(?:((?:\d{1,3}\.){3}\d{1,3}|\[[0-9a-f:]+\]):)?`;
const PORT = new RegExp(`^${ADDRESS}(\\d{1,5}):(\\d{1,5})(?:/(tcp|udp))?$`);

/** "8080:80", "127.0.0.1:8080:80", "5353:53/udp"; "0:80" for any free port of the host. Throws UKL_USAGE. */
export function parsePort(text: string): PortForward {
  const match = PORT.exec(text);
  const address = match?.[1] ?? '127.0.0.1';
  const host = Number(match?.[2]);
  const guest = Number(match?.[3]);
  if (!match || host > 65535 || guest < 1 || guest > 65535) {
    throw new UklError('UKL_USAGE', `expected a port as [address:]host:guest, for example 8080:80, got '${text}'`);
  }
  return { address, host, guest, protocol: match[4] === 'udp' ? 'udp' : 'tcp' };
}

/** "memcached (pid 1234)", if /proc lets us see who listens on a port. */
async function holderOf(port: PortForward): Promise<string | undefined> {
  const suffix = `:${port.host.toString(16).toUpperCase().padStart(4, '0')}`;
  const inodes = new Set<string>();
  for (const table of [port.protocol, `${port.protocol}6`]) {
    const text = await readFile(`/proc/net/${table}`, 'utf8').catch(() => '');
    for (const line of text.split('\n').slice(1)) {
      const words = line.trim().split(/\s+/);
      // Column 4 is the state: 0A listens, 07 is an unconnected UDP socket.
      if (words[1]?.endsWith(suffix) && (words[3] === '0A' || words[3] === '07') && words[9]) inodes.add(`socket:[${words[9]}]`);
    }
  }
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const fd of fds) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      if (inodes.has(target)) {
        const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?');
        return `${name.trim()} (pid ${pid})`;
      }
    }
  }
  return undefined;
}

/** Without the brackets that an IPv6 address has beside a port. */
const bindAddress = ({ address }: PortForward): string => address.replace(/^\[|\]$/g, '');

async function tryBind(port: PortForward): Promise<string | undefined> {
  return new Promise((resolve) => {
    if (port.protocol === 'udp') {
      const socket = createSocket(isIPv6(bindAddress(port)) ? 'udp6' : 'udp4');
      socket.once('error', (error) => resolve(errnoOf(error)));
      socket.bind(port.host, bindAddress(port), () => socket.close(() => resolve(undefined)));
    } else {
      const server = createServer();
      server.once('error', (error) => resolve(errnoOf(error)));
      server.listen(port.host, bindAddress(port), () => server.close(() => resolve(undefined)));
    }
  });
}

/** Ports with a number each: 0 becomes one that is free now. */
export async function choosePorts(ports: readonly PortForward[]): Promise<PortForward[]> {
  return Promise.all(ports.map(async (port) => (port.host === 0 ? { ...port, host: await freePort(port) } : port)));
}

async function freePort(port: PortForward): Promise<number> {
  return new Promise((resolve, reject) => {
    const opened = port.protocol === 'udp' ? createSocket(isIPv6(bindAddress(port)) ? 'udp6' : 'udp4') : createServer();
    const listening = (): void => {
      const address = opened.address();
      const chosen = typeof address === 'object' && address !== null ? address.port : 0;
      opened.close(() => resolve(chosen));
    };
    opened.once('error', reject);
    if ('bind' in opened) opened.bind(0, bindAddress(port), listening);
    else opened.listen(0, bindAddress(port), listening);
  });
}

/** Throws UKL_PORT_TAKEN, naming the holder, if a host port is not free. */
export async function checkPorts(ports: readonly PortForward[]): Promise<void> {
  for (const port of ports) {
    const errno = await tryBind(port);
    if (errno === undefined) continue;
    if (errno === 'EADDRNOTAVAIL') throw new UklError('UKL_USAGE', `this host has no address ${port.address}`, { hint: `-p ${port.host}:${port.guest}` });
    if (errno === 'EACCES') {
      throw new UklError('UKL_PORT_TAKEN', `port ${port.host} may only be used by root`, { hint: `-p ${port.host + 8000}:${port.guest}` });
    }
    const holder = await holderOf(port);
    throw new UklError('UKL_PORT_TAKEN', `port ${port.host} is taken${holder ? ` by ${holder}` : ''} (${errno})`, {
      hint: `end it, or take another port: -p ${port.host + 1}:${port.guest}`,
    });
  }
}
