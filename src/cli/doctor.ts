// SPDX-License-Identifier: MIT
import pc from 'picocolors';
import { doctor } from '../doctor/doctor.js';
import { EXIT } from '../model/exit-status.js';
import { type GlobalOptions, logFor, printJson } from './output.js';

/** `ukl doctor`: every requirement, what was found, why it is needed, how to fix it. */
export async function doctorCommand(flags: GlobalOptions): Promise<number> {
  const probes = await doctor({ log: logFor(flags) });
  const ok = probes.every((probe) => probe.ok || !probe.required);
  if (flags.json) {
    printJson({ ok, probes });
  } else {
    const width = Math.max(...probes.map((probe) => probe.name.length));
    for (const probe of probes) {
      const mark = probe.ok ? pc.green('✔') : probe.required ? pc.red('✖') : pc.yellow('!');
      process.stdout.write(`${mark} ${probe.name.padEnd(width)}  ${probe.found}\n  ${' '.repeat(width)}  ${pc.dim(probe.why)}\n`);
      if (probe.fix) process.stdout.write(`  ${' '.repeat(width)}  ${pc.bold('fix:')} ${probe.fix}\n`);
    }
    process.stdout.write(ok ? 'ready: ukl run examples/hello\n' : 'fix what is marked ✖, then: ukl run examples/hello (as root it installs what is missing)\n');
  }
  return ok ? EXIT.ok : EXIT.failed;
}
