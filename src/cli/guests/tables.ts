// SPDX-License-Identifier: MIT
/** How guests are shown to people. */

import type { GuestSummary } from '../../detached/detach.js';
import type { GuestStatus } from '../../detached/record.js';
import { formatSize } from '../../lib/size.js';

/** Columns with two blanks between them; the first row is the heading. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, index) => cell.padEnd(widths[index] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

const UNITS: readonly (readonly [number, string])[] = [
  [86_400, 'day'],
  [3600, 'hour'],
  [60, 'minute'],
  [1, 'second'],
];

/** "3 minutes" */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [size, unit] = UNITS.find(([length]) => seconds >= length) ?? [1, 'second'];
  const count = Math.floor(seconds / size);
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

const since = (time: string | undefined): string => span(Date.now() - Date.parse(time ?? new Date().toISOString()));

/** "Up 3 minutes (healthy)", "Exited (0) 2 hours ago" */
export function describeStatus(status: GuestStatus | undefined): string {
  if (status === undefined) return 'Starting';
  switch (status.state) {
    case 'starting':
      return 'Starting';
    case 'running':
      return `Up ${since(status.started)}${status.health === undefined ? '' : ` (${status.health === 'starting' ? 'health: starting' : status.health})`}`;
    case 'paused':
      return `Up ${since(status.started)} (paused)`;
    case 'restarting':
      return `Restarting (${status.exitCode}) ${since(status.ended)} ago`;
    case 'exited':
      return status.ended === undefined ? `Lost: ${status.reason}` : `Exited (${status.exitCode}) ${since(status.ended)} ago`;
  }
}

/** "127.0.0.1:8080->80/tcp" */
export const describePorts = ({ ports }: Pick<GuestStatus, 'ports'>): string =>
  ports.map(({ address, host, guest, protocol }) => `${address}:${host}->${guest}/${protocol}`).join(', ');

export const describeGuests = (guests: readonly GuestSummary[]): string =>
  columns([
    ['NAME', 'TARGET', 'CREATED', 'STATUS', 'PORTS'],
    ...guests.map(({ spec, status }) => [
      spec.name,
      spec.target,
      `${since(spec.created)} ago`,
      describeStatus(status),
      status === undefined || status.state === 'exited' ? '' : describePorts(status),
    ]),
  ]);

/** A guest as JSON has it. */
export const guestJson = ({ spec, status }: GuestSummary): object => ({ ...spec, status });

/** "12.3 MiB / 256.0 MiB" */
export const ofLimit = (bytes: number, limitMiB: number | undefined): string =>
  `${formatSize(bytes)}${limitMiB === undefined ? '' : ` / ${formatSize(limitMiB * 1024 ** 2)}`}`;
