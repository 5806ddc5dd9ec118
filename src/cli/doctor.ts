// SPDX-License-Identifier: MIT
import pc from 'picocolors';
import { type ProbeResult, probeHost } from '../host/requirements.js';
import { getKernel } from '../kernels/kernel.js';
import { kvmDeviceProblem, probeKvm } from '../vmms/qemu/accel.js';
import { EXIT } from './exit-status.js';
import { type GlobalOptions, logFor, printJson } from './output.js';

async function probeAccel(flags: GlobalOptions, hostOk: boolean): Promise<ProbeResult> {
  const base = { name: 'kvm', required: false, why: 'without it guests are emulated in software, some ten times slower' };
  const problem = await kvmDeviceProblem();
  if (problem !== undefined) return { ...base, ok: false, found: problem };
  if (!hostOk) return { ...base, ok: false, found: '/dev/kvm exists; it can be tried once the requirements are met' };
  const log = logFor(flags);
  const kernel = await getKernel('ukl', { log });
  const probe = await log.step('try KVM', () => probeKvm(kernel));
  return { ...base, ok: probe.usable, found: `/dev/kvm exists; ${probe.why}` };
}

/** `ukl doctor`: every requirement, what was found, why it is needed, how to mend it. */
export async function doctorCommand(flags: GlobalOptions): Promise<number> {
  const probes = await probeHost();
  const ok = probes.every((probe) => probe.ok || !probe.required);
  const all = [...probes, await probeAccel(flags, ok)];
  if (flags.json) {
    printJson({ ok, probes: all });
  } else {
    const width = Math.max(...all.map((probe) => probe.name.length));
    for (const probe of all) {
      const mark = probe.ok ? pc.green('✔') : probe.required ? pc.red('✖') : pc.yellow('!');
      process.stdout.write(`${mark} ${probe.name.padEnd(width)}  ${probe.found}\n  ${' '.repeat(width)}  ${pc.dim(probe.why)}\n`);
      if (probe.fix) process.stdout.write(`  ${' '.repeat(width)}  ${pc.bold('mend:')} ${probe.fix}\n`);
    }
    process.stdout.write(
      ok ? 'ready: ukl run examples/hello\n' : 'mend what is marked ✖, then: ukl run examples/hello (as root it installs what is missing)\n',
    );
  }
  return ok ? EXIT.ok : EXIT.failed;
}
