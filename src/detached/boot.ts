// SPDX-License-Identifier: MIT
/** Guests that come back when this machine starts: no daemon of ours starts them, so systemd does. */
import { join } from 'node:path';
import { projectRoot } from '../lib/paths.js';
import type { GuestSummary } from './detach.js';

/** Whether a guest is to be started with the machine, as docker has it. Of one that runs already, it is not. */
export function comesBack({ spec: { restart }, status }: GuestSummary): boolean {
  if (status !== undefined && status.state !== 'exited') return false;
  return restart.policy === 'always' || (restart.policy === 'unless-stopped' && status?.stopped !== true);
}

/** In quotes, without specifiers (systemd.syntax(7)). */
const quoted = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('%', '%%')}"`;

/** A word of a command line in a unit, without variables (systemd.service(5)). */
const word = (text: string): string => quoted(text).replaceAll('$', '$$$$');

/** An assignment of Environment=, which knows no variables (systemd.exec(5)). */
const assignment = (name: string, value: string): string => quoted(`${name}=${value}`);

/** What says where guests and what they were built from are kept. */
const VARIABLES = ['XDG_STATE_HOME', 'XDG_CACHE_HOME', 'UKL_STORE'] as const;

/** A unit for root's guests, or for those of the user whose systemd it is. */
export function unit(root: boolean, environment: Readonly<Record<string, string | undefined>>): string {
  const command = [process.execPath, join(projectRoot, 'dist/cli.js')].map(word).join(' ');
  const given = VARIABLES.flatMap((name) => (environment[name] ? [`Environment=${assignment(name, environment[name])}\n`] : [])).join('');
  return `[Unit]
Description=Guests of ukl that start with this machine
${root ? 'Wants=network-online.target\nAfter=network-online.target\n' : ''}
[Service]
Type=oneshot
RemainAfterExit=yes
${given}# One that does not start is no reason to end the others.
ExecStart=-${command} start --at-boot
ExecStop=${command} stop --at-shutdown
# For --cpu-limit.
Delegate=yes

[Install]
WantedBy=${root ? 'multi-user' : 'default'}.target
`;
}
