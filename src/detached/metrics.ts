// SPDX-License-Identifier: MIT
/** What is known of all detached guests, for Prometheus. */
import { exposition, Family } from '../lib/prometheus.js';
import { call } from './client.js';
import { list } from './detach.js';
import type { Usage } from './usage.js';

/** Reads all guests as they are now; one that ends meanwhile has no usage. */
export async function guestMetrics(): Promise<string> {
  const up = new Family('ukl_guest_up', 'Whether the guest runs.', 'gauge');
  const healthy = new Family('ukl_guest_healthy', 'Whether its health check passes; only of guests that have one.', 'gauge');
  const restarts = new Family('ukl_guest_restarts_total', 'How often its policy has started it again.', 'counter');
  const exitCode = new Family('ukl_guest_exit_code', 'The status of one that has ended.', 'gauge');
  const started = new Family('ukl_guest_start_time_seconds', 'When it was started, since 1970.', 'gauge');
  const cpu = new Family('ukl_guest_cpu_seconds_total', "Time of this host's processors.", 'counter');
  const memory = new Family('ukl_guest_memory_bytes', "This host's memory that it has.", 'gauge');
  const privateMemory = new Family('ukl_guest_private_memory_bytes', 'Of that, what no other process shares.', 'gauge');
  const limit = new Family('ukl_guest_memory_limit_bytes', 'Memory of the machine.', 'gauge');
  const received = new Family('ukl_guest_network_receive_bytes_total', 'Bytes that its interfaces received.', 'counter');
  const sent = new Family('ukl_guest_network_transmit_bytes_total', 'Bytes that its interfaces sent.', 'counter');
  const exits = new Family('ukl_guest_exits_total', 'How often its processors have left it for KVM; none in emulation.', 'counter');
  await Promise.all(
    (await list()).map(async ({ spec, status }) => {
      const labels = { guest: spec.name, ...(spec.project === undefined ? {} : { project: spec.project.name }) };
      const runs = status !== undefined && (status.state === 'running' || status.state === 'paused');
      up.at(labels).value = Number(runs);
      restarts.at(labels).value = status?.restarts ?? 0;
      if (status?.health !== undefined) healthy.at(labels).value = Number(status.health === 'healthy');
      if (status?.started !== undefined) started.at(labels).value = Date.parse(status.started) / 1000;
      if (status?.state === 'exited') exitCode.at(labels).value = status.exitCode ?? 255;
      const usage = runs ? ((await call(spec.name, 'GET', '/usage').catch(() => undefined)) as Usage | undefined) : undefined;
      if (usage === undefined) return;
      cpu.at(labels).value = usage.cpuMs / 1000;
      memory.at(labels).value = usage.memoryBytes;
      privateMemory.at(labels).value = usage.privateBytes;
      if (status?.memoryMiB !== undefined) limit.at(labels).value = status.memoryMiB * 1024 ** 2;
      received.at(labels).value = usage.receivedBytes;
      sent.at(labels).value = usage.sentBytes;
      if (usage.exits !== undefined) exits.at(labels).value = usage.exits;
    }),
  );
  return exposition([up, healthy, restarts, exitCode, started, cpu, memory, privateMemory, limit, received, sent, exits]);
}
